from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluation.audit.findings import COPIED
from evaluation.volumes.image_files import Volume
from tests.bench.audit import calibrate
from tests.bench.reuses import REUSES

Draw = Callable[..., Volume]

BEYOND_REACH = "turn + crop 50 % + window + 1x1x3 mm + 8 bits"


def test_every_re_use_is_found_and_no_stranger_is(tissue: Draw) -> None:
    volumes = [tissue(seed) for seed in range(6)]
    rates = calibrate(volumes, n_sources=1)
    found = rates.recall.set_index("re-use")["found %"].drop(BEYOND_REACH)
    assert len(found) == len(REUSES) - 1
    assert (found == 100).all(), found
    assert rates.confused == ()
    assert rates.n_negative == 6 * 5 // 2 + len(REUSES) * 5
    exact = ["flip + permutation", "z-score", "crop 50 % per axis", "spacing lost"]
    assert (rates.recall.set_index("re-use").loc[exact, COPIED] == 1).all()


def test_changes_do_not_touch_the_original(tissue: Draw) -> None:
    volume = tissue(9, (24, 22, 20))
    before = volume.array.copy()
    for reuse in REUSES:
        reuse.change(volume, np.random.default_rng(0))
    assert np.array_equal(volume.array, before)
