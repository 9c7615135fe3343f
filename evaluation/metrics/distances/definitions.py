"""What a surface is, and how its distances become one number: three definitions in use.

Let a be the distances from the points of the reference's surface to the nearest point of the
prediction's, b those the other way, w their weights. The field's tools differ in the points and in
the formulas; each of these definitions has a name that is stored and printed beside the number.
Outside the image is background, so that a structure cut by the field of view has a surface there.
Data of one slice are two-dimensional.

Quirks of single tools are not part of a definition: spacing in another order, NaN, 0 or infinity
for a missed structure, "ASSD" for what is MASD here, or a mean of one direction only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from evaluation.errors import BenchError, did_you_mean

DefinitionName = Literal["surface-element", "voxel-larger", "voxel-pooled"]
DEFAULT_DEFINITION: DefinitionName = "surface-element"


@dataclass(frozen=True)
class Definition:
    """A named way to measure distances; the texts are for captions and documentation."""

    name: DefinitionName
    used_by: str
    points: str
    hd_percentile: str
    assd: str
    masd: str
    nsd: str

    @property
    def lines(self) -> list[str]:
        """What it says, a line for each part; a, b and w as in the module."""
        return [
            f"used by {self.used_by}",
            f"surface: {self.points}",
            f"percentile p of the Hausdorff distance: {self.hd_percentile}",
            "HD: the largest of a and b",
            f"ASSD: {self.assd}",
            f"MASD: {self.masd}",
            f"NSD at a tolerance: {self.nsd}",
        ]


_MEANS = (
    "(sum of w a + sum of w b) / (sum of all w): every point counts by its weight",
    "(weighted mean of a + weighted mean of b) / 2: both directions count the same",
)
_BORDER = (
    "border voxels: voxels of the mask with a neighbour across a face that is not in it; every "
    "one has weight 1; distances between voxel centres"
)
_LINEAR = "interpolated linearly between order statistics, at (n - 1) p / 100"

DEFINITIONS: dict[DefinitionName, Definition] = {
    definition.name: definition
    for definition in (
        Definition(
            "surface-element",
            "surface-distance, MONAI with use_subvoxels (NSD), BraTS 2023 and 2024",
            "voxel corners whose 2x2x2 voxels are not all in or all out of the mask; the weight "
            "is the area of the marching-cubes patch there, for the spacing",
            "the larger of the two directions' percentiles; a direction's is the first distance, "
            "ascending, at which the cumulated area reaches p percent; not interpolated",
            *_MEANS,
            "area of both surfaces within the tolerance of the other / area of both surfaces",
        ),
        Definition(
            "voxel-larger",
            "MONAI, Metrics Reloaded",
            _BORDER,
            f"the larger of the two directions' percentiles, {_LINEAR}",
            *_MEANS,
            "border voxels of both sides within the tolerance / border voxels of both sides",
        ),
        Definition(
            "voxel-pooled",
            "MedPy, nnU-Net v1, panoptica, BraTS 2026",
            _BORDER,
            f"one percentile of both directions together, {_LINEAR}; a far false positive that is "
            "less than (100 - p) percent of both surfaces does not show",
            *_MEANS,
            "mean of the two sides' shares of border voxels within the tolerance",
        ),
    )
}


def find_definition(name: str) -> Definition:
    """A definition by name.

    Raises:
        BenchError: there is none of that name.
    """
    for known in get_args(DefinitionName):
        if known == name:
            return DEFINITIONS[known]
    raise BenchError(
        f"no definition of distances is called `{name}`",
        expected=", ".join(get_args(DefinitionName)),
        hint=did_you_mean(name, get_args(DefinitionName)),
    )
