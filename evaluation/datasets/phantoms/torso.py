"""The trunk from the lower chest to the pelvic rim in CT, MR or PET: about 50 named structures.

Nominal anatomy in mm, RAS, the origin in the middle of the body at the height of L1. Structures
carry TotalSegmentator's own names. Paired structures mirror each other; liver, spleen, stomach,
heart and the great vessels do not, so that the sides of a scan can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.phantoms.canvas import (
    Canvas,
    FieldOfView,
    Phantom,
    correlated_noise,
    magnetic_resonance,
    positron_emission,
)
from evaluation.datasets.phantoms.shapes import Jitter, Triple, tube
from evaluation.datasets.phantoms.tissues import CT, FDG_PET, Contrast

SIDES = (("right", 1), ("left", -1))
VERTEBRAE = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8", "T7", "T6")
BODY_RADII_MM = (138.0, 98.0)
# Where a rib ends, in degrees around the trunk from the spine.
RIB_END_DEGREES = {12: 60.0, 11: 85.0, 10: 115.0}
N_BOWEL_LOOPS = 22


@dataclass(frozen=True)
class Body:
    """One patient while being drawn: canvas, jitter, intensities, and where the trunk is."""

    canvas: Canvas
    jitter: Jitter
    contrast: Contrast
    tissue: dict[str, float]
    fat_mm: float
    wall_mm: float
    breath_mm: float
    cavity: NDArray[np.bool_]
    above_dome: NDArray[np.bool_]


Addition = Callable[[Body], None]
"""Paints over the anatomy what only some datasets show; see `additions`."""


def draw_torso(rng: np.random.Generator, grid: FieldOfView, *additions: Addition) -> Phantom:
    """One patient's trunk in HU with noise of 20 to 30 HU, as far as `grid` shows it."""
    phantom = _drawn(_anatomy(rng, grid, CT), additions)
    phantom.image[...] += correlated_noise(rng, phantom.image.shape, rng.uniform(20, 30))
    np.clip(phantom.image, -1024, 3071, out=phantom.image)
    return phantom


def draw_torso_mr(
    seed: int, grid: FieldOfView, contrast: Contrast, noise: np.random.Generator
) -> Phantom:
    """One sequence as an MR magnitude image; the same `seed` gives the same anatomy in each."""
    phantom = _anatomy(np.random.default_rng(seed), grid, contrast).canvas.finish()
    phantom.image[...] = magnetic_resonance(noise, phantom.image, grid.spacing_mm)
    return phantom


def draw_torso_pet(rng: np.random.Generator, grid: FieldOfView, *additions: Addition) -> Phantom:
    """An FDG-PET in SUV."""
    phantom = _drawn(_anatomy(rng, grid, FDG_PET), additions)
    phantom.image[...] = positron_emission(rng, phantom.image, grid.spacing_mm)
    return phantom


def _drawn(body: Body, additions: Iterable[Addition]) -> Phantom:
    for paint in additions:
        paint(body)
    return body.canvas.finish()


def _anatomy(rng: np.random.Generator, grid: FieldOfView, contrast: Contrast) -> Body:
    """Everything but lesions and noise; what is drawn from `rng` is the same in each contrast."""
    patient = _start(rng, grid, contrast)
    _muscles(patient)
    spine = _spine(patient)
    _lungs_and_heart(patient)
    _vessels(patient)
    _bowel(patient)
    _organs(patient)
    _ribs(patient, spine)
    return patient


def _start(rng: np.random.Generator, grid: FieldOfView, contrast: Contrast) -> Body:
    """Body contour, subcutaneous fat, muscular wall, and the cavity under a curved diaphragm."""
    whole = 0.94 * rng.uniform(0.9, 1.1)
    size = whole * rng.uniform(0.95, 1.05, 3)
    scale: Triple = (size[0], size[1], size[2])
    canvas = Canvas(rng, grid, size=scale, warp_mm=4.0, background=contrast.air)
    jitter = Jitter(rng)
    tissue = {name: jitter.around(mean, half) for name, (mean, half) in contrast.tissues.items()}
    fat_mm, wall_mm = jitter.around(12, 4), jitter.around(13, 2)
    breath_mm = jitter.around(0, 10)
    canvas.paint_region(_trunk(canvas, 0), tissue["fat"])
    canvas.paint_region(_trunk(canvas, fat_mm), tissue["muscle"])
    cavity = _trunk(canvas, fat_mm + wall_mm)
    canvas.paint_region(cavity, tissue["fat"])
    x, y = canvas.x, canvas.y
    depth = np.float32(1) - (y / np.float32(80)) ** 2
    right = np.float32(58) * (depth - ((x - 52) / np.float32(70)) ** 2)
    left = np.float32(46) * (depth - ((x + 52) / np.float32(70)) ** 2)
    above_dome = canvas.z > np.float32(60 + breath_mm) + np.maximum(right, left)
    return Body(canvas, jitter, contrast, tissue, fat_mm, wall_mm, breath_mm, cavity, above_dome)


def _trunk(canvas: Canvas, inset_mm: float) -> NDArray[np.bool_]:
    """The elliptical trunk, `inset_mm` inside the skin."""
    a, b = (np.float32(radius - inset_mm) for radius in BODY_RADII_MM)
    mask: NDArray[np.bool_] = (canvas.x / a) ** 2 + (canvas.y / b) ** 2 <= 1
    return mask


def _muscles(p: Body) -> None:
    for name, side in SIDES:
        back = p.jitter.tube(
            [(24, -68, -190), (23, -69, 40), (21, -70, 240)],
            [17, 16, 13],
            move_mm=3,
            side=side,
            stretch=(1.15, 1.0, 1.0),
        )
        p.canvas.paint(back, p.tissue["muscle"], f"autochthon_{name}")
        psoas = p.jitter.tube(
            [(32, -42, 16), (40, -38, -50), (54, -26, -170)], [11, 19, 26], side=side
        )
        p.canvas.paint(psoas, p.tissue["muscle"], f"iliopsoas_{name}")


def _spine(p: Body) -> dict[str, NDArray[np.float64]]:
    """Vertebrae with discs, processes and canal; gives the centre of each in mm."""
    pitches = np.interp(np.arange(len(VERTEBRAE)), [0, 4, 11], [35, 33, 28.5])
    heights = np.concatenate([[0], np.cumsum((pitches[1:] + pitches[:-1]) / 2)])
    heights += p.jitter.around(0, 6) - heights[VERTEBRAE.index("L1")]
    bend = p.jitter.around(0, 5)
    centres: dict[str, NDArray[np.float64]] = {}
    canal = [np.array([0.0, -71.0, -190.0]), np.array([0.0, -71.0, 240.0])]
    for name, height, pitch in zip(VERTEBRAE, heights, pitches, strict=True):
        centre = np.array([bend * np.sin(height / 90), -46 + 4 * np.cos(height / 60), height])
        centres[name] = centre
        x, y, z = centre.tolist()
        shape: Triple = (0.68 * pitch + 1, 0.54 * pitch, 0.40 * pitch)
        disc = p.jitter.ellipsoid((x, y, z - pitch / 2), (shape[0], shape[1], 6), move_mm=1)
        p.canvas.paint(disc, p.tissue["muscle"] + 25 * p.contrast.step)
        structure = f"vertebrae_{name}"
        parts = [
            p.jitter.ellipsoid((x, y, z), shape, move_mm=1.5, flatness=6),
            p.jitter.ellipsoid((x, y - 26, z - 2), (40, 6, 8), move_mm=1.5),
            p.jitter.ellipsoid((x, y - 35, z - 8), (6, 16, 10), (20, 0, 0), move_mm=1.5),
            p.jitter.ellipsoid((x, y - 22, z), (16, 11, 10), move_mm=1),
        ]
        p.canvas.paint(parts, p.tissue["bone"], structure)
    p.canvas.paint(tube(canal, [8.0, 8.0]), p.contrast.canal)
    return centres


def _lungs_and_heart(p: Body) -> None:
    canvas, lift = p.canvas, p.breath_mm
    room = p.cavity & p.above_dome
    for name, side in SIDES:
        lung = p.jitter.ellipsoid((60, -4, 150 + lift), (52, 68, 130), move_mm=4, side=side)
        upper = f"lung_upper_lobe_{name}"
        canvas.paint(lung, p.tissue["lung"], upper, inside=room)
        whole = canvas.region(upper)
        below_fissure = whole & (canvas.z < np.float32(165 + lift) - np.float32(0.9) * canvas.y)
        front = canvas.y > 12
        lower = below_fissure & ~front
        canvas.paint_region(lower, p.tissue["lung"], f"lung_lower_lobe_{name}")
        if name == "right":
            canvas.paint_region(below_fissure & front, p.tissue["lung"], "lung_middle_lobe_right")
    gullet = p.jitter.tube([(-14, 0, 70 + lift), (2, -18, 120), (4, -22, 240)], [10, 10, 10])
    canvas.paint(gullet, p.tissue["oesophagus"], "esophagus")
    blood = p.tissue["aorta"] - 10 * p.contrast.step
    z = 158 + lift
    muscle = p.jitter.ellipsoid((-22, 26, z), (52, 40, 46), (0, 35, 25), move_mm=5)
    canvas.paint(muscle, p.tissue["heart muscle"], "heart_myocardium", inside=room)
    chambers = (
        ("heart_ventricle_left", (-40, 22, z - 4), (26, 20, 24)),
        ("heart_ventricle_right", (-2, 40, z - 6), (30, 18, 26)),
        ("heart_atrium_right", (24, 16, z + 12), (22, 22, 26)),
        ("heart_atrium_left", (-8, -2, z + 18), (26, 16, 20)),
    )
    for name, centre, radii in chambers:
        chamber = p.jitter.ellipsoid(centre, radii, (0, 35, 25), move_mm=3)
        canvas.paint(chamber, blood, name, inside=room)


def _vessels(p: Body) -> None:
    bifurcation = p.jitter.around(-106, 8)
    fork: Triple = (-8, -14, bifurcation)
    aorta = p.jitter.tube(
        [fork, (-13, -15, 20), (-15, -17, 110), (-22, -26, 240)], [11, 12.5, 13, 14]
    )
    vein = p.jitter.tube([(10, -14, bifurcation), (19, -13, 20), (22, 2, 122)], [11, 12, 13])
    for name, side in SIDES:
        way: list[Triple] = [(2, -14, bifurcation), (44, -6, bifurcation - 62)]
        p.canvas.paint(
            p.jitter.tube(way, [9, 8], side=side, move_mm=2),
            p.tissue["aorta"],
            f"iliac_artery_{name}",
        )
        behind: list[Triple] = [(4, -22, bifurcation), (42, -20, bifurcation - 62)]
        p.canvas.paint(
            p.jitter.tube(behind, [9, 9], side=side, move_mm=2),
            p.tissue["vena cava"],
            f"iliac_vena_{name}",
        )
    p.canvas.paint(vein, p.tissue["vena cava"], "inferior_vena_cava")
    p.canvas.paint(aorta, p.tissue["aorta"], "aorta")


def _bowel(p: Body) -> None:
    """Unnamed loops of several densities: what an intensity window mistakes for organs."""
    rng = p.jitter.rng
    free = p.cavity & ~p.above_dome
    for _ in range(N_BOWEL_LOOPS):
        centre: Triple = (rng.uniform(-82, 82), rng.uniform(-5, 58), rng.uniform(-150, 5))
        radii: Triple = (rng.uniform(14, 28), rng.uniform(12, 20), rng.uniform(12, 24))
        loop = p.jitter.ellipsoid(centre, radii, (0.0, 0.0, rng.uniform(0, 180)), move_mm=0)
        p.canvas.paint(loop, float(rng.choice(p.contrast.bowel)), inside=free)


def _organs(p: Body) -> None:
    jitter, canvas, tissue = p.jitter, p.canvas, p.tissue
    free = p.cavity & ~p.above_dome
    lift = p.breath_mm
    drop = 0.6 * lift
    lobes = [
        jitter.ellipsoid((52, 10, 50 + lift), (60, 60, 70), (0, 10, 0), move_mm=7),
        jitter.ellipsoid((-4, 40, 66 + lift), (56, 27, 32), (0, -10, 0), move_mm=5),
    ]
    canvas.paint(lobes, tissue["liver"], "liver", inside=free)
    spleen = jitter.ellipsoid((-80, -24, 52 + lift), (26, 42, 50), (20, 0, 30), move_mm=7)
    canvas.paint(spleen, tissue["spleen"], "spleen", inside=free)
    fundus = jitter.ellipsoid((-42, 12, 66 + lift), (32, 32, 32), move_mm=6)
    lower = jitter.tube(
        [(-46, 16, 60 + drop), (-48, 34, 28 + drop), (-8, 42, 14 + drop)], [27, 23, 15], move_mm=4
    )
    canvas.paint([fundus, *lower], tissue["stomach"], "stomach", inside=free)
    for name, side in SIDES:
        low = -8 if name == "right" else 8
        kidney = jitter.ellipsoid(
            (63, -40, low + drop), (29, 26, 56), (-8, 8, 15), move_mm=6, side=side
        )
        canvas.paint(kidney, tissue["kidney"], f"kidney_{name}", inside=free)
        sinus = jitter.ellipsoid((46, -34, low + drop), (12, 9, 20), move_mm=2, side=side)
        canvas.paint(sinus, tissue["fat"] + 60 * p.contrast.step, inside=free)
        adrenal = jitter.ellipsoid(
            (36, -30, low + 52 + drop), (7, 13, 16), (20, 0, 0), move_mm=3, side=side
        )
        canvas.paint(adrenal, tissue["adrenal"], f"adrenal_gland_{name}", inside=free)
    pancreas = jitter.tube(
        [
            (30, 14, -4 + drop),
            (8, 24, 10 + drop),
            (-22, 16, 22 + drop),
            (-60, -8, 34 + drop),
        ],
        [16, 12, 12, 11],
    )
    canvas.paint(pancreas, tissue["pancreas"], "pancreas", inside=free)
    gallbladder = jitter.ellipsoid((44, 46, 2 + lift), (15, 16, 26), (20, 0, 0), move_mm=5)
    canvas.paint(gallbladder, tissue["gallbladder"], "gallbladder", inside=free)


def _ribs(p: Body, spine: dict[str, NDArray[np.float64]]) -> None:
    """Ribs 6 to 12 of both sides, running down and forward inside the wall."""
    a, b = (radius - p.fat_mm - p.wall_mm / 2 for radius in BODY_RADII_MM)
    for number in range(6, 13):
        head = spine[f"T{number}"]
        angles = np.radians(np.linspace(20, RIB_END_DEGREES.get(number, 140.0), 9))
        for name, side in SIDES:
            fall = p.jitter.around(62, 8)
            path = np.stack(
                [
                    side * a * np.sin(angles),
                    -b * np.cos(angles),
                    head[2] + 4 - fall * angles / np.radians(140),
                ],
                axis=1,
            )
            radius = p.jitter.around(7.5, 0.7)
            solids = tube(path, [radius] * len(path))
            p.canvas.paint(solids, p.tissue["bone"] + 60 * p.contrast.step, f"rib_{name}_{number}")
