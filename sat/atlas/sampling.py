"""Which volumes stage 2 sees: every label often enough, and no data set more than its root.

The later pre-training code repeats a label round(sqrt(count)) times and, within a label, draws a
volume in proportion to 1/sqrt(size of its data set). A crop shows many classes at once here, all
of which become regions, so we draw the volume from the distribution that those two rules imply
(the label summed out) and leave the place of the crop to `CropDataset`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from evaluation.errors import BenchError
from evaluation.training.draws import Group
from sat.prompts.book import Key


def label_repeats(counts: Mapping[Key, int]) -> dict[Key, int]:
    """Repeats of each label with so many volumes: round(sqrt(count)), at least once."""
    return {key: max(1, round(math.sqrt(count))) for key, count in counts.items()}


def volume_chances(
    labels: Sequence[Collection[Key]], sizes: Sequence[int]
) -> tuple[list[float], dict[Key, float]]:
    """Chance of each volume, and of each label, under the two rules.

    With r(l) = `label_repeats` and w(v) = 1 / sqrt(N of v's data set),
    P(l) = r(l) / sum of r, P(v | l) = w(v) / sum of w over the volumes that show l, and
    P(v) = sum over the labels l of v of P(l) P(v | l).

    Args:
        labels: labels that each volume shows.
        sizes: number of volumes of each volume's data set.

    Returns:
        P(v) in the order given, summing to one (zero for a volume without a label), and P(l).
    """
    counts = Counter(key for shown in labels for key in shown)
    repeats = label_repeats(counts)
    total = sum(repeats.values())
    chance = {key: repeats[key] / total for key in counts}
    weights = [1 / math.sqrt(size) for size in sizes]
    sums: dict[Key, float] = dict.fromkeys(counts, 0.0)
    for shown, weight in zip(labels, weights, strict=True):
        for key in shown:
            sums[key] += weight
    volumes = [
        sum(chance[key] * weight / sums[key] for key in shown)
        for shown, weight in zip(labels, weights, strict=True)
    ]
    return volumes, chance


def region_groups(
    groups: Sequence[Group], kept: Mapping[str, Collection[str]], minimum_voxels: int
) -> list[Group]:
    """Groups restricted to some cases, and to those that show a class.

    Args:
        groups: of the segmentation.
        kept: dataset -> cases that may be used.
        minimum_voxels: a class with fewer voxels in the whole volume does not count.

    Raises:
        BenchError: no case is left.
    """
    found = []
    for group in groups:
        rows = [
            i
            for i, record in enumerate(group.cases)
            if record.case in kept.get(group.dataset, ()) and _shown(group, i, minimum_voxels)
        ]
        total = sum(group.case_weights[i] for i in rows)
        if rows:
            found.append(
                replace(
                    group,
                    cases=tuple(group.cases[i] for i in rows),
                    case_weights=tuple(group.case_weights[i] / total for i in rows),
                    centred=tuple(group.centred[i] for i in rows),
                )
            )
    if not found:
        raise BenchError(
            "no class is large enough to be a region",
            found=f"{sum(map(len, kept.values()))} cases in {len(groups)} groups",
            expected=f"at least one class with {minimum_voxels} voxels on the model's own grid",
            hint="lower `atlas.minimum_voxels` or `atlas.validation_part` in the preset",
        )
    return found


def label_balanced(groups: Sequence[Group], minimum_voxels: int) -> list[Group]:
    """The same groups with the chances of `volume_chances`."""
    units = [(g, i) for g, group in enumerate(groups) for i in range(len(group.cases))]
    labels = [
        [(groups[g].modality, name) for name in _shown(groups[g], i, minimum_voxels)]
        for g, i in units
    ]
    chances, _ = volume_chances(labels, [len(groups[g].cases) for g, _ in units])
    answer = []
    for number, group in enumerate(groups):
        own = [c for (g, _), c in zip(units, chances, strict=True) if g == number]
        weight = sum(own)
        answer.append(replace(group, weight=weight, case_weights=tuple(c / weight for c in own)))
    return answer


def _shown(group: Group, row: int, minimum_voxels: int) -> list[str]:
    points = group.cases[row].points
    return [n for n in group.classes if n in points and points[n].voxels >= minimum_voxels]
