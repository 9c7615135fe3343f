"""A short-axis cine MR of the heart: the relaxed and the contracted frame of one patient.

Nominal anatomy in mm, RAS along the slice axes, the origin in the middle of the left ventricle.
Structures: `left ventricle`, `right ventricle`, `myocardium`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.phantoms.canvas import Canvas, FieldOfView, Phantom, magnetic_resonance
from evaluation.datasets.phantoms.shapes import Jitter, tube

LEFT, RIGHT, MUSCLE = "left ventricle", "right ventricle", "myocardium"
BLOOD, WALL, FAT, LUNG, SOFT = 0.85, 0.38, 0.50, 0.10, 0.32
BASE_MM, APEX_MM = 34.0, -40.0


@dataclass(frozen=True)
class _Heart:
    """What does not change between the frames of a patient."""

    cavity_mm: float
    axis_ratio: float
    turn: float
    tilt: NDArray[np.float64]
    right_width_mm: float
    right_length_mm: float
    base_mm: float
    apex_mm: float


def draw_heart(
    seed: int, grid: FieldOfView, *, contracted: bool, noise: np.random.Generator
) -> Phantom:
    """One frame; the same `seed` gives the same patient, `noise` the frame's own noise.

    In the contracted frame the cavity shrinks to 0.78 of its radius, the wall thickens from 9 to
    13 mm, and the right ventricle narrows.
    """
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.9, 1.1) * rng.uniform(0.95, 1.05, 3)
    canvas = Canvas(rng, grid, size=(size[0], size[1], size[2]), warp_mm=2.0, background=LUNG)
    jitter = Jitter(rng)
    heart = _Heart(
        cavity_mm=jitter.around(23, 3),
        axis_ratio=jitter.around(1.0, 0.08),
        turn=np.radians(jitter.around(35, 35)),
        tilt=rng.uniform(-0.12, 0.12, 2),
        right_width_mm=jitter.around(23, 3),
        right_length_mm=jitter.around(35, 4),
        base_mm=BASE_MM + jitter.around(0, 4),
        apex_mm=APEX_MM + jitter.around(0, 4),
    )
    _surroundings(canvas, jitter)
    _ventricles(canvas, heart, contracted=contracted)
    phantom = canvas.finish()
    phantom.image[...] = magnetic_resonance(noise, phantom.image, grid.spacing_mm)
    return phantom


def _surroundings(canvas: Canvas, jitter: Jitter) -> None:
    """Chest wall, liver and two bright distractors that are no ventricle."""
    radius = np.hypot(canvas.x / np.float32(1.25), canvas.y)
    canvas.paint_region(radius > np.float32(jitter.around(76, 4)), SOFT)
    canvas.paint_region(radius > np.float32(jitter.around(86, 4)), 0.70)
    liver = jitter.ellipsoid((42, -28, -48), (48, 44, 34), move_mm=8)
    canvas.paint(liver, 0.34)
    bright = jitter.ellipsoid((-44, -30, -44), (26, 24, 22), move_mm=8)
    canvas.paint(bright, 0.72)
    x, y = jitter.around(-18, 8), jitter.around(-62, 5)
    aorta = tube([np.array([x, y, -80.0]), np.array([x - 4, y, 80.0])], [11.0, 11.0])
    canvas.paint(aorta, BLOOD)


def _ventricles(canvas: Canvas, heart: _Heart, *, contracted: bool) -> None:
    cavity = heart.cavity_mm * (0.78 if contracted else 1.0)
    wall = 13.0 if contracted else 9.0
    narrow = 0.82 if contracted else 1.0
    x = canvas.x - np.float32(heart.tilt[0]) * canvas.z
    y = canvas.y - np.float32(heart.tilt[1]) * canvas.z
    ratio = np.float32(np.sqrt(heart.axis_ratio))
    from_axis = np.hypot(x / ratio, y * ratio)
    # From base to apex the heart tapers like half an ellipsoid, its tip closed by muscle.
    height = (heart.base_mm - canvas.z) / np.float32(heart.base_mm - heart.apex_mm)
    taper = np.sqrt(np.clip(1 - (height * np.float32(0.92)) ** 2, 0, 1))
    labelled = (height >= 0) & (height <= 1)
    muscle = labelled & (from_axis <= np.float32(cavity) * taper + np.float32(wall))
    inner = labelled & (height < 0.93) & (from_axis <= np.float32(cavity) * taper)

    fat = (height > -0.5) & (height <= 1.05) & (np.hypot(x - 16, y - 8) <= 64 * taper)
    canvas.paint_region(fat, FAT)
    _right_ventricle(canvas, heart, x, y, taper, labelled & (height < 0.85), narrow)
    atrium = (height < 0) & (np.hypot(x + 2, y + 8) <= np.float32(26))
    canvas.paint_region(atrium, 0.72)
    canvas.paint_region(muscle, WALL, MUSCLE)
    canvas.paint_region(inner, BLOOD, LEFT)
    for angle in (heart.turn + 1.9, heart.turn + 3.9):
        dx = x - np.float32(0.62 * cavity * np.cos(angle))
        dy = y - np.float32(0.62 * cavity * np.sin(angle))
        papillary = inner & (np.hypot(dx, dy) <= 4.2) & (height > 0.2) & (height < 0.7)
        # Papillary muscles are dark but count as cavity, as the dataset's annotators did it.
        canvas.paint_region(papillary, WALL + 0.05, LEFT)


def _right_ventricle(
    canvas: Canvas,
    heart: _Heart,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    taper: NDArray[np.float32],
    where: NDArray[np.bool_],
    narrow: float,
) -> None:
    """A crescent: an ellipse beside the left ventricle, turned around it, under the muscle."""
    cos, sin = np.float32(np.cos(heart.turn)), np.float32(np.sin(heart.turn))
    along, across = cos * x + sin * y, cos * y - sin * x
    away = np.float32(heart.cavity_mm + 13) * taper
    width = np.float32(heart.right_width_mm * narrow) * taper + np.float32(1e-3)
    length = np.float32(heart.right_length_mm * narrow) * taper + np.float32(1e-3)
    offset, side = along - away, across
    chamber = where & ((offset / width) ** 2 + (side / length) ** 2 <= 1)
    thin_wall = where & (
        (offset / (width + np.float32(3))) ** 2 + (side / (length + np.float32(3))) ** 2 <= 1
    )
    canvas.paint_region(thin_wall, WALL)
    canvas.paint_region(chamber, BLOOD - 0.03, RIGHT)
