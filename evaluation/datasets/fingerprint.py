"""What a dataset is like, in numbers, and which scans are unlike the others.

A reader finds what is broken; a scan that is whole and yet of another kind (not cropped to the
head like the others, another unit, a mask of the wrong structure) is only seen beside the others.
Such scans are named, nothing more: a fence is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.classes.modality import Modality
from evaluation.volumes.image_files import Array, Volume
from evaluation.volumes.segmentation import Segmentation

SAMPLE = 200_000
"""At most so many voxels of a scan, evenly over it, give its intensities."""
PERCENTILES = (0.5, 50.0, 99.5)
FEWEST = 8
"""Scans of one modality and sequence, below which none is called unlike the others."""
MOST_HAVE_IT = 0.9
"""A class that so many scans show is missed where it is empty."""
FENCE = 3.0
"""Tukey's outer fences: so many interquartile ranges beyond the quartiles."""

Scale = Literal["linear", "log"]
# The least width of the middle half that is believed, on the scale of the measure: of scans that
# are all alike, every difference would lie outside.
_SHARE, _PLACE, _HU, _LENGTH, _VOLUME = 0.02, 0.02, 25.0, np.log(1.1), np.log(1.3)


@dataclass(frozen=True)
class Fingerprint:
    """One scan in numbers.

    Attributes:
        kind: its modality and sequence; only scans of one kind are compared.
        spacing_mm: along x, y, z in RAS.
        extent_mm: of the field of view, alike.
        nonzero: share of voxels that are not 0, from 0 to 1.
        intensities: 0.5th, 50th and 99.5th percentile of a sample of voxels.
        volume_ml: of each class that is annotated; 0 where it was found absent.
    """

    kind: str
    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    nonzero: float
    intensities: tuple[float, float, float]
    volume_ml: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Measure:
    """A number of every scan: on which scale its differences count, and from which width on."""

    name: str
    scale: Scale
    least: float
    values: Mapping[str, float]


def fingerprint(
    image: Volume, segmentation: Segmentation, modality: Modality, sequence: str | None
) -> Fingerprint:
    """The fingerprint of a scan in memory (x, y, z, in RAS)."""
    spacing = image.spacing_mm
    x, y, z = (n * mm for n, mm in zip(image.array.shape, spacing, strict=True))
    low, middle, high = np.percentile(_sample(image.array), PERCENTILES)
    counts = [_counted(layer) for layer in segmentation.layers]
    voxel_ml = float(np.prod(spacing)) / 1000
    volumes = {
        name: voxel_ml
        * sum(counts[part.layer].get(v, 0) for part in place.parts for v in part.values)
        for name, place in segmentation.classes.items()
    }
    return Fingerprint(
        kind=" ".join(filter(None, (modality, sequence))),
        spacing_mm=spacing,
        extent_mm=(float(x), float(y), float(z)),
        nonzero=np.count_nonzero(image.array) / image.array.size,
        intensities=(float(low), float(middle), float(high)),
        volume_ml=volumes,
    )


def _sample(array: Array) -> NDArray[Any]:
    """Voxels evenly over a volume (x, y, z): every n-th along each axis."""
    step = max(1, int(np.ceil((array.size / SAMPLE) ** (1 / 3))))
    return array[::step, ::step, ::step]


def _counted(layer: Array) -> dict[int, int]:
    if layer.dtype == np.uint8:
        counts = np.bincount(layer.ravel(order="K"), minlength=256)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, found = np.unique(layer, return_counts=True)
    return dict(zip(values.tolist(), found.tolist(), strict=True))


def kinds_of(prints: Mapping[str, Fingerprint]) -> dict[str, dict[str, Fingerprint]]:
    """Fingerprints by case, for each kind of scan."""
    kinds: dict[str, dict[str, Fingerprint]] = {}
    for case, found in prints.items():
        kinds.setdefault(found.kind, {})[case] = found
    return kinds


def measures_of(prints: Mapping[str, Fingerprint]) -> Iterator[Measure]:
    """What scans of one kind are compared by.

    Lengths and volumes differ by factors. Intensities of CT are Hounsfield units; those of the
    others have no unit, and what is compared is where their median lies in their own range.
    """
    for axis, letter in enumerate("xyz"):
        of_axis = {case: p.spacing_mm[axis] for case, p in prints.items()}
        yield Measure(f"spacing along {letter}, mm", "log", _LENGTH, of_axis)
    for axis, letter in enumerate("xyz"):
        of_axis = {case: p.extent_mm[axis] for case, p in prints.items()}
        yield Measure(f"field of view along {letter}, mm", "log", _LENGTH, of_axis)
    yield Measure(
        "share of voxels not 0", "linear", _SHARE, {case: p.nonzero for case, p in prints.items()}
    )
    if all(p.kind.startswith("ct") for p in prints.values()):
        for index, percentile in enumerate(PERCENTILES):
            levels = {case: p.intensities[index] for case, p in prints.items()}
            yield Measure(f"intensity, {percentile:g}th percentile", "linear", _HU, levels)
    else:
        places = {case: _place_of_median(p.intensities) for case, p in prints.items()}
        yield Measure("intensity, place of the median in the range", "linear", _PLACE, places)
    for name in dict.fromkeys(name for p in prints.values() for name in p.volume_ml):
        volumes = {case: p.volume_ml[name] for case, p in prints.items() if name in p.volume_ml}
        yield Measure(f"volume of {name}, ml", "log", _VOLUME, volumes)


def _place_of_median(intensities: tuple[float, float, float]) -> float:
    """From 0 (the 0.5th percentile) to 1 (the 99.5th); 0 of a scan of one value."""
    low, middle, high = intensities
    return (middle - low) / (high - low) if high > low else 0.0


def unlike(prints: Mapping[str, Fingerprint]) -> Iterator[tuple[str, str]]:
    """Case, and in what it lies outside the fences of the scans of its kind."""
    for kind, alike in kinds_of(prints).items():
        for measure in measures_of(alike):
            # What is 0 has no logarithm: a class that is absent is no small organ.
            logs = measure.scale == "log"
            known = {case: v for case, v in measure.values.items() if v > 0 or not logs}
            few = len(measure.values) - len(known) <= (1 - MOST_HAVE_IT) * len(measure.values)
            for case in sorted(measure.values.keys() - known.keys()) if few else ():
                have = f"{len(known)} of {len(measure.values)} {kind} scans have one"
                yield case, f"unlike the others: no {measure.name}; {have}"
            if len(known) < FEWEST:
                continue
            numbers = np.array(list(known.values()))
            on_scale = np.log(numbers) if logs else numbers
            first, third = np.percentile(on_scale, (25, 75))
            reach = FENCE * max(float(third - first), measure.least)
            outside = (on_scale < first - reach) | (on_scale > third + reach)
            middle = " to ".join(f"{q:.4g}" for q in np.percentile(numbers, (25, 75)))
            for case, value in zip(np.array(list(known))[outside], numbers[outside], strict=True):
                yield (
                    str(case),
                    (
                        f"unlike the others: {measure.name}; {value:.4g}, of the middle half of "
                        f"{len(known)} {kind} scans {middle}"
                    ),
                )


def fingerprint_lines(dataset: str, prints: Mapping[str, Fingerprint]) -> Iterator[str]:
    """A table for a terminal: the range of every measure over the scans of each kind."""
    from tabulate import tabulate

    for kind, alike in kinds_of(prints).items():
        rows = [_row(measure) for measure in _shown(alike)]
        head = ["", "scans", "least", "5 %", "median", "95 %", "most"]
        yield f"\n{dataset}: {len(alike)} {kind} scans"
        yield tabulate(rows, headers=head, floatfmt=".4g")
    if prints:
        yield (
            f"Intensities are of at most {SAMPLE:,} voxels evenly over each scan, all else of "
            f"every voxel; a volume is over the scans that show the class. Of {FEWEST} scans or "
            f"more, those beyond the quartiles by {FENCE:g} times their distance are named above."
        )


def _shown(prints: Mapping[str, Fingerprint]) -> Iterator[Measure]:
    """The measures, with the plain percentiles in place of what is compared of intensities."""
    before = [m for m in measures_of(prints) if not m.name.startswith("intensity")]
    for measure in before:
        yield measure
        if measure.name.startswith("share"):
            for index, percentile in enumerate(PERCENTILES):
                levels = {case: p.intensities[index] for case, p in prints.items()}
                yield Measure(f"intensity, {percentile:g}th percentile", "linear", 0.0, levels)


def _row(measure: Measure) -> Sequence[object]:
    values = np.array([v for v in measure.values.values() if v > 0 or measure.scale == "linear"])
    if not len(values):
        return [measure.name, 0]
    return [measure.name, len(values), *np.percentile(values, (0, 5, 50, 95, 100)).tolist()]
