"""A T2-weighted MR of the male pelvis around the prostate.

Nominal anatomy in mm, RAS, the origin in the middle of the prostate. Structure: `prostate`
(peripheral zone and centre under one label).
"""

from __future__ import annotations

import numpy as np

from evaluation.datasets.phantoms.canvas import Canvas, FieldOfView, Phantom, magnetic_resonance
from evaluation.datasets.phantoms.shapes import Ellipsoid, Jitter, tube

PROSTATE = "prostate"
FAT, MUSCLE, FLUID, BONE_MARROW, CORTEX, GAS = 0.46, 0.24, 0.95, 0.50, 0.12, 0.04
PERIPHERAL, CENTRE = 0.76, 0.42


def draw_pelvis(rng: np.random.Generator, grid: FieldOfView) -> Phantom:
    """One patient's pelvis as an MR magnitude image."""
    size = rng.uniform(0.9, 1.1) * rng.uniform(0.95, 1.05, 3)
    canvas = Canvas(rng, grid, size=(size[0], size[1], size[2]), warp_mm=2.0, background=FAT)
    jitter = Jitter(rng)
    _neighbours(canvas, jitter)
    _prostate(canvas, jitter)
    phantom = canvas.finish()
    phantom.image[...] = magnetic_resonance(rng, phantom.image, grid.spacing_mm)
    return phantom


def _neighbours(canvas: Canvas, jitter: Jitter) -> None:
    """What surrounds the prostate, part of it as bright or as dark as the gland itself."""
    for side in (1, -1):
        socket = jitter.ellipsoid((84, 6, 22), (32, 30, 34), move_mm=4, side=side)
        canvas.paint(socket, CORTEX)
        head = Ellipsoid(socket.centre, socket.radii - 5, socket.rotation)
        canvas.paint(head, BONE_MARROW)
        obturator = jitter.ellipsoid((50, 6, -6), (10, 34, 40), (0, 8, -12), side=side)
        canvas.paint(obturator, MUSCLE)
        levator = jitter.ellipsoid((31, -12, -14), (6, 26, 26), (0, 15, 0), move_mm=3, side=side)
        canvas.paint(levator, MUSCLE + 0.04)
        gluteus = jitter.ellipsoid((52, -66, 0), (42, 24, 70), (0, 0, 25), side=side)
        canvas.paint(gluteus, MUSCLE + 0.03)
        pubis = jitter.ellipsoid((20, 46, -14), (24, 12, 18), (0, 0, -25), move_mm=4, side=side)
        canvas.paint(pubis, BONE_MARROW - 0.05)
        vesicle = jitter.ellipsoid((17, -17, 26), (17, 7, 9), (0, -20, 10), move_mm=3, side=side)
        canvas.paint(vesicle, jitter.around(0.72, 0.12))
    bladder = jitter.ellipsoid((0, 16, 46), (36, 30, 25), move_mm=6)
    wall = Ellipsoid(bladder.centre, bladder.radii + 4, bladder.rotation)
    canvas.paint(wall, MUSCLE + 0.05)
    canvas.paint(bladder, FLUID)
    content = GAS if jitter.rng.random() < 0.4 else jitter.around(0.35, 0.1)
    x = jitter.around(0, 4)
    way = [np.array([x, -38.0, -70.0]), np.array([x, -37.0, 0.0]), np.array([x, -46.0, 70.0])]
    radius = jitter.around(14, 3)
    canvas.paint(tube(way, [radius - 2, radius + 3, radius + 3]), MUSCLE + 0.06)
    canvas.paint(tube(way, [radius - 5, radius, radius]), content)


def _prostate(canvas: Canvas, jitter: Jitter) -> None:
    """A bright peripheral zone around a darker centre with nodules."""
    gland = jitter.ellipsoid((0, 0, 0), (27, 21, 24), (12, 0, 0), move_mm=5)
    bright = jitter.around(PERIPHERAL, 0.08)
    canvas.paint(gland, bright, PROSTATE)
    inside = canvas.region(PROSTATE)
    middle = gland.centre + np.array([0.0, 5.0, 4.0])
    share = jitter.around(0.76, 0.1)
    centre = Ellipsoid(middle, gland.radii * share, gland.rotation)
    dark = jitter.around(CENTRE, 0.06)
    canvas.paint(centre, dark, PROSTATE, inside=inside)
    zone = inside & ~(canvas.intensity == np.float32(bright))
    for _ in range(5):
        place = middle + jitter.rng.uniform(-0.5, 0.5, 3) * gland.radii
        nodule = Ellipsoid(place, jitter.rng.uniform(4, 8, 3), gland.rotation)
        canvas.paint(nodule, dark + jitter.around(0, 0.16), PROSTATE, inside=zone)
