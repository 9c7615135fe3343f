"""What only some datasets show of a trunk: lesions of PET, tumours of an organ, airway and cord."""

from __future__ import annotations

import numpy as np

from evaluation.datasets.phantoms.shapes import Triple
from evaluation.datasets.phantoms.torso import Addition, Body

LESION = "lesion"
TRACHEA, CORD = "trachea", "spinal_cord"
AIRWAY_HU = -950.0


def lesions(p: Body) -> None:
    """One to four round lesions anywhere between lungs and pelvis; none in one patient of five."""
    rng = p.jitter.rng
    count = int(rng.integers(1, 5)) if rng.random() < 0.8 else 0
    middle = p.canvas.grid.centre_mm[2]
    for _ in range(count):
        centre: Triple = (
            rng.uniform(-80, 80),
            rng.uniform(-45, 50),
            middle + rng.uniform(-80, 90),
        )
        radius = rng.uniform(13, 22)
        lesion = p.jitter.ellipsoid(centre, (radius, radius, radius), move_mm=0)
        p.canvas.paint(lesion, rng.uniform(5, 13), LESION, inside=p.cavity)


def tumour(name: str, organs: tuple[str, ...], radius_mm: tuple[float, float]) -> Addition:
    """A tumour with its centre in one of the organs, 25 to 45 HU darker; none in one of ten.

    Args:
        name: of the new structure.
        organs: structures that may have it; whichever is in view.
        radius_mm: least and most; it may bulge out of the organ, never out of the body cavity.
    """

    def paint(p: Body) -> None:
        rng, canvas = p.jitter.rng, p.canvas
        has_one, place = rng.random() < 0.9, rng.random()
        radius, darker = rng.uniform(*radius_mm), rng.uniform(25, 45)
        organ = organs[int(rng.integers(len(organs)))]
        inside = np.flatnonzero(canvas.region(organ))
        if not (has_one and len(inside)):
            return
        at = inside[int(place * len(inside))]
        centre = (float(canvas.x.flat[at]), float(canvas.y.flat[at]), float(canvas.z.flat[at]))
        solid = p.jitter.ellipsoid(centre, (radius, radius, radius), move_mm=0)
        hu = float(np.median(canvas.intensity.flat[inside])) - darker
        canvas.paint(solid, hu, name, inside=p.cavity)

    return paint


def airway_and_cord(p: Body) -> None:
    """The trachea behind the upper heart, and the spinal cord where the canal runs."""
    airway = p.jitter.tube([(2, -6, 178 + p.breath_mm), (2, -10, 300)], [9.5, 9.5], move_mm=3)
    p.canvas.paint(airway, AIRWAY_HU, TRACHEA)
    cord = p.jitter.tube([(0, -71, -190), (0, -71, 300)], [7.5, 7.5], move_mm=0)
    p.canvas.paint(cord, p.contrast.canal, CORD)
