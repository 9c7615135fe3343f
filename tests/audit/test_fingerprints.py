from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest

from evaluation.audit import symmetry
from evaluation.audit.fingerprint import fingerprint_of
from evaluation.audit.grids import isotropic
from evaluation.audit.keypoints import find_keypoints
from evaluation.audit.matching import find_matches
from evaluation.audit.sketch import voxel_sketch
from evaluation.errors import BenchError
from evaluation.volumes.image_files import Volume

Draw = Callable[..., Volume]


def test_the_sketch_survives_every_flip_and_permutation_exactly() -> None:
    array = np.random.default_rng(1).integers(0, 900, (16, 15, 14)).astype(np.int16)
    expected = voxel_sketch(array)
    assert len(expected) > 100
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            turned = array.transpose(order)[:: signs[0], :: signs[1], :: signs[2]]
            assert np.array_equal(voxel_sketch(turned), expected)


def test_the_sketch_survives_increasing_maps_and_other_types(tissue: Draw) -> None:
    array = tissue(2, (24, 22, 20)).array
    expected = voxel_sketch(array)
    for other in (array * 3.5 - 7, np.cbrt(array.astype(np.float64)), array.astype(">i4")):
        assert np.array_equal(voxel_sketch(other), expected)


def test_a_crop_keeps_the_members_of_its_parent(tissue: Draw) -> None:
    array = tissue(3).array
    inside = voxel_sketch(array[10:50, 8:48, 5:35], size=10**6)
    whole = voxel_sketch(array, size=10**6)
    assert set(inside) <= set(whole)
    short, parent = voxel_sketch(array[10:50, 8:48, 5:35], 300), voxel_sketch(array, 300)
    assert set(parent) & set(inside) == set(parent) & set(short)


def test_symmetries_and_codes_agree_with_each_other() -> None:
    rng = np.random.default_rng(0)
    patch = rng.normal(size=125).astype(np.float32)
    code = patch @ symmetry.BASIS > 0
    assert len(set(symmetry.FREQUENCIES)) == symmetry.CODE_BITS
    identity = next(i for i, m in enumerate(symmetry.MATRICES) if np.array_equal(m, np.eye(3)))
    for v in range(4):
        changed = patch[symmetry.GATHERS[symmetry.VARIANT_SYMMETRY[v][identity]]]
        predicted = code[symmetry.VARIANT_SOURCE[v]] ^ symmetry.VARIANT_FLIP[v]
        assert np.array_equal(changed @ symmetry.BASIS > 0, predicted)


def test_a_linear_ramp_keeps_its_values_on_any_grid() -> None:
    ramp = np.fromfunction(lambda x, y, z: 2 * x + 3 * y - z, (40, 30, 20))
    grid = isotropic(ramp, (1.0, 1.5, 2.5), 2.0)
    inner = (slice(4, -4),) * 3
    at = np.indices(grid.values.shape).astype(float)
    x, y, z = (at[a] * 2.0 + grid.origin_mm[a] for a in range(3))
    expected = 2 * x / 1.0 + 3 * y / 1.5 - z / 2.5
    assert np.abs(grid.values - expected)[inner].max() < 1e-3


def test_keypoints_vote_for_the_true_turn_and_shift(tissue: Draw) -> None:
    volume = tissue(4)
    cut = volume.array[8:, 4:, :][:, ::-1, :].transpose(1, 0, 2)
    spacing = volume.spacing_mm
    other = Volume(cut, np.diag([spacing[1], spacing[0], spacing[2], 1.0]))
    (match,) = find_matches([fingerprint_of(volume), fingerprint_of(other)], [0, 1], 4, 7)
    assert match.shared > 200
    assert match.votes > 20
    assert np.array_equal(match.turn, [[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    expected = [8 * spacing[0], (volume.array.shape[1] - 1) * spacing[1], 0]
    assert np.abs(match.shift_mm - expected).max() < 0.6


@pytest.mark.parametrize("shape", [(3, 40, 40), (40, 40, 6), (1, 1, 1), (30, 30, 30)])
def test_scans_without_marks_say_so(shape: tuple[int, int, int]) -> None:
    constant = Volume(np.full(shape, 5, dtype=np.int16), np.eye(4))
    found = fingerprint_of(constant)
    assert len(found.sketch) == len(found.keypoints) == 0
    assert found.blind == "too few voxel marks and too few keypoints"
    assert len(find_keypoints(constant.array, (1.0, 1.0, 9.0))) == 0


def test_a_scan_with_nan_is_refused() -> None:
    array = np.zeros((9, 9, 9), dtype=np.float32)
    array[4, 4, 4] = np.nan
    with pytest.raises(BenchError, match="NaN"):
        fingerprint_of(Volume(array, np.eye(4)))
