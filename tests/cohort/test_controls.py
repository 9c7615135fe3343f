"""Controls run like any model, and the trivial ones stay trivial on the virtual patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import Prediction, read_image_case, read_reference
from evaluation.config import Cohort, RunConfig, freeze
from evaluation.datasets.phantoms import roster, write_cohort
from evaluation.datasets.registry import find_card
from evaluation.datasets.sharding import n_shards
from evaluation.datasets.shards import standardise_shard
from evaluation.errors import BenchError
from evaluation.models.adapters import build_model
from evaluation.models.card import find_model
from evaluation.models.fitted_controls import best_cut_off, best_window
from evaluation.models.protocol import Model
from evaluation.paths import RunPaths

ENTRIES = ["msd_spleen", "acdc"]
CONTROLS = ["oracle", "empty", "shifted", "threshold", "mean-map"]
PATIENTS, TEST = 6, 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPaths, RunConfig]:
    root = tmp_path_factory.mktemp("run")
    config = RunConfig(
        name="controls",
        study="sat",
        data_kind="synthetic",
        raw_root=str(root / "raw"),
        entries=ENTRIES,
        models=CONTROLS,
        cohort=Cohort(patients=PATIENTS, test_patients=TEST),
    )
    paths = RunPaths(root)
    freeze(config, paths.config)
    write_cohort(root / "raw", ENTRIES, PATIENTS, 0)
    for dataset in ENTRIES:
        for shard in range(n_shards(find_card(dataset), config)):
            standardise_shard(root, dataset, shard)
        paths.split(dataset).parent.mkdir(exist_ok=True)
        rows = [f"{r.case},{r.patient},{r.split}" for r in roster(dataset, PATIENTS, TEST)]
        paths.split(dataset).write_text("\n".join(["case,patient,split", *rows]) + "\n")
    return paths, config


def control(run: tuple[RunPaths, RunConfig], name: str) -> Model:
    model = build_model(name, *run)
    assert isinstance(model, Model)
    return model


def mean_dice(run: tuple[RunPaths, RunConfig], name: str, dataset: str) -> float:
    """Mean over classes of the mean Dice over test cases."""
    model = control(run, name)
    names = [c for c, reason in model.classes(dataset).items() if reason is None]
    scores: dict[str, list[float]] = {n: [] for n in names}
    for row in roster(dataset, PATIENTS, TEST):
        if row.split == "test":
            folder = run[0].case(dataset, row.case)
            reference = read_reference(folder)[1]
            answer = model.predict(read_image_case(folder), names).segmentation
            for n in names:
                a, b = reference.mask(n), answer.mask(n)
                scores[n].append(2 * int((a & b).sum()) / int(a.sum() + b.sum()))
    return float(np.mean([np.mean(v) for v in scores.values()]))


@pytest.mark.parametrize("name", CONTROLS)
def test_cards_name_controls(name: str) -> None:
    card = find_model(name)
    assert card.role == "control"
    assert card.parameters == 0
    assert card.trained_on == (("run",) if name in ("threshold", "mean-map") else ())


@pytest.mark.parametrize("dataset", ENTRIES)
def test_scale_from_empty_to_oracle(run: tuple[RunPaths, RunConfig], dataset: str) -> None:
    assert mean_dice(run, "oracle", dataset) == 1
    assert mean_dice(run, "empty", dataset) == 0
    assert 0.5 < mean_dice(run, "shifted", dataset) < 0.95


@pytest.mark.parametrize("dataset", ENTRIES)
@pytest.mark.parametrize("name", ["threshold", "mean-map"])
def test_trivial_controls_learn_little_but_something(
    run: tuple[RunPaths, RunConfig], name: str, dataset: str
) -> None:
    assert 0.02 < mean_dice(run, name, dataset) < 0.5


def test_annotated_classes_are_answered_and_unions_follow(
    run: tuple[RunPaths, RunConfig],
) -> None:
    support = control(run, "oracle").classes("acdc")
    assert support["myocardium"] is None
    assert support["ventricle cavity"] == "answered through its parts"


def test_the_shift_is_one_voxel_towards_the_right(run: tuple[RunPaths, RunConfig]) -> None:
    folder = run[0].case("msd_spleen", "spleen_1")
    case = read_image_case(folder)
    answer = control(run, "shifted").predict(case, ["spleen"]).segmentation.mask("spleen")
    reference = read_reference(folder)[1].mask("spleen")
    np.testing.assert_array_equal(answer[1:], reference[:-1])
    assert not answer[0].any()


@pytest.mark.parametrize(("name", "suffix"), [("threshold", "json"), ("mean-map", "npz")])
def test_what_was_fitted_is_kept(
    run: tuple[RunPaths, RunConfig],
    name: str,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths, _ = run
    case = read_image_case(paths.case("msd_spleen", "spleen_6"))
    first = control(run, name).predict(case, ["spleen"])
    assert (paths.model_run(name) / f"msd_spleen.{suffix}").is_file()
    monkeypatch.setattr("evaluation.models.fitted_controls.FittedControl.training", _refuse)
    again = control(run, name).predict(case, ["spleen"])
    np.testing.assert_array_equal(_mask(first), _mask(again))


def _refuse(*_: object) -> None:
    pytest.fail("the control was fitted again")


def _mask(prediction: Prediction) -> np.ndarray:
    return prediction.segmentation.mask("spleen")


def test_fitting_sees_training_cases_only(
    run: tuple[RunPaths, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    read: Callable[[Path], object] = read_reference

    def watch(folder: Path) -> object:
        seen.append(folder.name)
        return read(folder)

    monkeypatch.setattr("evaluation.models.fitted_controls.read_reference", watch)
    paths, _ = run
    (paths.model_run("threshold") / "acdc.json").unlink(missing_ok=True)
    test_cases = [r.case for r in roster("acdc", PATIENTS, TEST) if r.split == "test"]
    control(run, "threshold").predict(
        read_image_case(paths.case("acdc", test_cases[0])), ["myocardium"]
    )
    assert len(seen) == 2 * (PATIENTS - TEST)
    assert not set(seen) & set(test_cases)


def test_without_training_cases_the_message_says_so(
    run: tuple[RunPaths, RunConfig], tmp_path: Path
) -> None:
    paths = RunPaths(tmp_path)
    paths.split("acdc").parent.mkdir()
    paths.split("acdc").write_text("case,patient,split\na,a,test\n")
    case = read_image_case(run[0].case("acdc", "patient001_frame01"))
    with pytest.raises(BenchError, match="no training case of `acdc`"):
        build_model("threshold", paths, run[1]).predict(case, ["myocardium"])  # type: ignore[union-attr]


def test_the_best_window_holds_the_class_and_little_else() -> None:
    edges = np.linspace(0.0, 10.0, 11)
    own = np.zeros((2, 10))
    own[:, 4:6] = 50
    whole = np.full((2, 10), 60.0)
    assert best_window(own, whole, edges) == (4.0, 6.0)


def test_the_best_cut_off_ignores_cases_without_the_class() -> None:
    masks = np.zeros((3, 48, 48, 48), dtype=bool)
    masks[0, :10] = masks[1, :10] = True
    mean = masks.mean(axis=0)
    assert best_cut_off(mean, masks) == 0.2
    assert best_cut_off(mean * 0, masks[2:]) == 0.65
