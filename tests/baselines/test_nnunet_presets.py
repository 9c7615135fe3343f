"""Presets: what they refuse, and which plan they lead to."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.nnunet.config import PRESET_FOLDER, Network, NnunetPreset, Schedule, load_preset
from baselines.nnunet.jobs import choose_device
from baselines.nnunet.plans import (
    CONFIGURATION,
    describe,
    differences,
    plan_to_train,
    spacing_faults,
)
from evaluation.errors import BenchError
from evaluation.files.records import preset_names
from evaluation.published.specialists import pinned_plans
from evaluation.studies.record import find_study

PLANNED: dict[str, Any] = {
    "plans_name": "nnUNetPlans",
    "transpose_forward": [2, 0, 1],
    "configurations": {
        "2d": {},
        CONFIGURATION: {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "patch_size": [14, 40, 48],
            "batch_size": 7,
            "spacing": [6.0, 3.5, 3.5],
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "architecture": {
                "arch_kwargs": {
                    "n_stages": 3,
                    "features_per_stage": [32, 64, 128],
                    "strides": [[1, 1, 1], [2, 2, 2], [1, 2, 2]],
                    "kernel_sizes": [[3, 3, 3]] * 3,
                    "n_conv_per_stage": [2] * 3,
                    "n_conv_per_stage_decoder": [2] * 2,
                }
            },
        },
    },
}


SAT = find_study("sat")


def preset(mode: str = "planned", **network: Any) -> NnunetPreset:
    return NnunetPreset(
        description="t", mode=mode, network=Network(**network), test_time_mirroring=True
    )


def test_built_in_presets_load() -> None:
    assert set(preset_names(PRESET_FOLDER)) >= {"paper", "hippocampus", "demo", "smoke"}
    for name in preset_names(PRESET_FOLDER):
        load_preset(name)
    paper = load_preset("paper")
    assert paper.mode == "pinned"
    assert paper.schedule is None  # nnU-Net's own: 1000 epochs of 250 iterations
    assert paper.folds == ("all",)


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("description: x\nmode: planned\nnetwork: {widht: 8}\n")
    with pytest.raises(BenchError, match=r"network\.widht"):
        load_preset(str(path))
    with pytest.raises(BenchError, match="did you mean `demo`"):
        load_preset("dmeo")


def test_prediction_cannot_mirror_what_training_did_not() -> None:
    schedule = Schedule(
        base=1, iterations_per_epoch=1, optimiser="sgd", learning_rate=0.01, mirroring=False
    )
    with pytest.raises(ValueError, match="test_time_mirroring"):
        NnunetPreset(description="t", mode="planned", schedule=schedule)


def test_more_labels_train_longer() -> None:
    schedule = load_preset("demo").schedule
    assert schedule is not None
    per_epoch = schedule.iterations_per_epoch
    assert [per_epoch * schedule.epochs(n) for n in (1, 3, 4, 8)] == [120, 180, 180, 300]


def test_a_pinned_plan_is_table_7s() -> None:
    pinned = pinned_plans(SAT)["msd_hippocampus"]
    plan = plan_to_train(PLANNED, preset("pinned", width=16, batch_size=2), pinned)
    found = describe(plan)
    assert found["patch_size"] == [40, 56, 40]
    assert found["width"] == [16, 32, 64, 128]
    assert found["strides"] == [list(s) for s in pinned.strides]
    assert found["spacing_mm"] == [1.0, 1.0, 1.0]
    assert plan["configurations"].keys() == {CONFIGURATION}
    assert differences(PLANNED, plan)["patch_size"] == {
        "planned": [14, 40, 48],
        "used": [40, 56, 40],
    }
    with pytest.raises(BenchError, match="Table 7 has no plan"):
        plan_to_train(PLANNED, preset("pinned"), None)


def test_every_pinned_plan_fits_its_own_strides() -> None:
    for pinned in pinned_plans(SAT).values():
        found = describe(plan_to_train(PLANNED, preset("pinned"), pinned))
        assert found["width"] == list(pinned.width)
        assert found["batch_size"] == pinned.batch_size


def test_a_capped_patch_gets_strides_of_its_own() -> None:
    before = deepcopy(PLANNED)
    found = describe(plan_to_train(PLANNED, preset(patch_cap=32, width=12), None))
    assert found["patch_size"] == [14, 32, 32]
    assert found["strides"] == [[1, 1, 1], [2, 2, 2], [1, 2, 2], [1, 2, 2]]
    assert found["width"] == [12, 24, 48, 96]
    assert before == PLANNED


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BenchError, match="multiple of 4"):
        plan_to_train(PLANNED, preset(patch_size=(14, 32, 30)), None)


def test_a_spacing_far_from_the_scans_is_reported() -> None:
    plan = plan_to_train(PLANNED, preset(), None)
    assert spacing_faults(plan, [(3.5, 3.5, 6.0), (3.0, 3.0, 5.0)]) == []
    assert "axis 0" in spacing_faults(plan, [(3.5, 3.5, 1.0)])[0]


def test_a_gpu_preset_without_a_gpu_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="needs a GPU"):
        choose_device(load_preset("paper"), "auto")
    assert choose_device(load_preset("demo"), "auto") == "cpu"


def test_a_checkpoint_from_elsewhere_runs_no_code(tmp_path):
    """Neither where nnU-Net predicts nor where it goes on with a training."""
    canary, checkpoint = tmp_path / "canary", tmp_path / "checkpoint_final.pth"
    write = (
        "import os, sys, torch\n"
        "class Evil:\n"
        "    def __reduce__(self):\n"
        "        return os.mkdir, (sys.argv[1],)\n"
        "torch.save({'network_weights': Evil()}, sys.argv[2])\n"
    )
    load = (
        "import sys, torch, numpy as np\n"
        "from baselines.nnunet.reading import load_only_weights\n"
        "load_only_weights()\n"
        "torch.save({'log': [np.float32(1), np.float64(2)]}, sys.argv[2] + '.good')\n"
        "print(torch.load(sys.argv[2] + '.good', weights_only=False)['log'])\n"
        "torch.load(sys.argv[2], weights_only=False)\n"
    )
    arguments = [str(canary), str(checkpoint)]
    subprocess.run([sys.executable, "-c", write, *arguments], check=True)
    done = subprocess.run(
        [sys.executable, "-c", load, *arguments], capture_output=True, text=True, check=False
    )
    assert "2.0" in done.stdout
    assert done.returncode
    assert "weights_only" in done.stderr.lower()
    assert not canary.exists()


def test_only_damaged_checkpoints_are_dropped(tmp_path, capfd):
    import torch

    from baselines.nnunet.reading import drop_damaged

    for name in ("best", "final", "latest"):
        torch.save({"weights": torch.arange(999)}, tmp_path / f"checkpoint_{name}.pth")
    content = bytearray((tmp_path / "checkpoint_final.pth").read_bytes())
    (tmp_path / "checkpoint_latest.pth").write_bytes(content[: len(content) // 2])
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "checkpoint_final.pth").write_bytes(content)
    drop_damaged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_best.pth"]
    said = capfd.readouterr().out
    assert "checkpoint_final.pth is damaged" in said
    assert "checkpoint_latest.pth is damaged" in said


def test_what_lies_beside_a_preprocessed_case_runs_no_code(tmp_path):
    """It is a pickle, too: nnU-Net writes and reads it."""
    import pickle

    from nnunetv2.training.dataloading import nnunet_dataset

    from baselines.nnunet.reading import load_only_values

    class Evil:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / "canary",)

    plain = nnunet_dataset.load_pickle
    values = {"spacing": [1.0, 2.5], "box": ((0, 4),), "locations": {1: np.arange(6).reshape(2, 3)},
              "scalar": np.float64(2), "none": None}  # fmt: skip
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps(values))
    try:
        load_only_values()
        found = nnunet_dataset.load_pickle(str(path))
        assert (found.pop("locations")[1] == values.pop("locations")[1]).all()
        assert found == values
        for content in (pickle.dumps({"spacing": Evil()}), path.read_bytes()[:20], b""):
            path.write_bytes(content)
            with pytest.raises(SystemExit, match=r"case\.pkl is damaged or from elsewhere"):
                nnunet_dataset.load_pickle(str(path))
    finally:
        nnunet_dataset.load_pickle = plain
    assert not (tmp_path / "canary").exists()
