"""The gate: whatever a model's Python returns is brought to the image's grid, or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.cases import ImageCase, Prediction, read_reference
from evaluation.errors import BenchError
from evaluation.models.running import predict_shard
from evaluation.paths import RunPaths
from evaluation.scoring.shards import measure_shard
from evaluation.volumes.image_files import Volume, write_volume
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation, pack_masks

DATASET = "msd_hippocampus"
PARTS = ("anterior hippocampus", "posterior hippocampus")
FIRST, SECOND = "hippocampus_001", "hippocampus_003"
SHAPE = (12, 14, 10)
CARD = f"  kind: python\n  object: {__name__}:"


def truth(case: ImageCase) -> np.ndarray:
    """Label map of a case: 1 is the anterior, 2 the posterior part."""
    reference = read_reference(case.folder)[1]
    return np.select([reference.mask(name) for name in PARTS], [1, 2]).astype(np.uint8)


def places(values: Sequence[int] = (1, 2), layers: Sequence[int] = (0, 0)) -> dict[str, ClassPlace]:
    return {
        name: ClassPlace(kind="direct", parts=(Part(layer=layer, values=(value,)),))
        for name, value, layer in zip(PARTS, values, layers, strict=True)
    }


def in_one_layer(labels: Any, affine: Any = None, classes: Any = None) -> Prediction:
    """A label map of both parts as a prediction."""
    affine = np.eye(4) if affine is None else affine
    return Prediction(Segmentation((labels,), affine, places() if classes is None else classes))


class Perfect:
    """Answers with the reference, changed by `answer`, which each test sets."""

    answer: Callable[[np.ndarray], Any] = staticmethod(in_one_layer)

    def __init__(self, _context: Any) -> None:
        pass

    def classes(self, _dataset: str) -> Any:
        return dict.fromkeys(PARTS, None)

    def predict(self, case: ImageCase, _classes: Sequence[str]) -> Any:
        return type(self).answer(truth(case))


class InOneGo(Perfect):
    """The same for a whole shard; `predict` is not for it."""

    def predict_all(self, cases: Sequence[ImageCase], classes: Sequence[str]) -> Any:
        for case in cases:
            yield case, self.predict(case, classes), 0.5


@pytest.fixture(params=["Perfect", "InOneGo"])
def answering(
    run: Path, write_card: Callable[..., None], monkeypatch: pytest.MonkeyPatch, request: Any
) -> Callable[[Callable[[np.ndarray], Any]], Path]:
    """`answering(change)` makes the model of the run answer so, for both kinds of Python model."""
    write_card(f"{CARD}{request.param}\n")

    def answer(change: Callable[[np.ndarray], Any]) -> Path:
        monkeypatch.setattr(Perfect, "answer", staticmethod(change))
        return run

    return answer


def reasons(run: Path) -> dict[str, str]:
    with suppress(BenchError):  # where all cases failed
        predict_shard(run, "mine", DATASET, 0)
    table = RunPaths(run).prediction_shard("mine", DATASET, 0)
    status = pd.read_csv(table).query("status != 'ok'")
    return dict(zip(status["case"], status["reason"], strict=True))


def scores(run: Path, space: str = "native") -> pd.DataFrame:
    rows = pd.read_parquet(measure_shard(run, "mine", DATASET, 0))
    return rows[rows["space"] == space].set_index(["case", "class"])


def flipped(labels: np.ndarray) -> Prediction:
    affine = np.diag([-1.0, 1, -1, 1])
    affine[:3, 3] = SHAPE[0] - 1, 0, SHAPE[2] - 1
    return in_one_layer(labels[::-1, :, ::-1], affine)


def permuted(labels: np.ndarray) -> Prediction:
    """Axes (z, x, y), y downwards."""
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[0, 1] = affine[3, 3] = 1
    affine[1, 2], affine[1, 3] = -1, SHAPE[1] - 1
    return in_one_layer(labels[:, ::-1].transpose(2, 0, 1), affine)


def as_masks(kind: Any) -> Callable[[np.ndarray], Prediction]:
    def change(labels: np.ndarray) -> Prediction:
        layers = tuple((labels == value).astype(kind) for value in (1, 2))
        return Prediction(Segmentation(layers, np.eye(4), places((1, 1), (0, 1))))

    return change


@pytest.mark.parametrize(
    "change",
    [
        in_one_layer,
        flipped,
        permuted,
        as_masks(bool),
        as_masks(np.float64),
        as_masks(np.uint64),
        as_masks(np.int8),
        lambda labels: in_one_layer(labels * np.float32(0.99995)),
        lambda labels: in_one_layer(np.asfortranarray(labels).astype(">i4")),
        lambda labels: in_one_layer(labels, np.eye(4).tolist()),
        lambda labels: in_one_layer(labels, classes={**places(), "spleen": places()[PARTS[0]]}),
        lambda labels: Prediction(Segmentation([labels], np.eye(4, dtype=np.float32), places())),
    ],
)
def test_an_answer_counts_in_any_orientation_and_type(answering, change):
    run = answering(change)
    assert reasons(run) == {}
    for space in ("native", "resampled"):
        rows = scores(run, space)
        assert (rows.loc[:, ["dsc", "nsd"]] == 1).all().all()
        assert set(rows["status"]) == {"scored"}
    names = {"spleen"} & set(scores(run).index.get_level_values("class"))
    assert not names, "a class that nobody asked for is dropped"


def shifted(labels: np.ndarray) -> Prediction:
    affine = np.eye(4)
    affine[0, 3] = 0.5
    return in_one_layer(labels, affine)


def with_value(value: float, kind: str) -> Callable[[np.ndarray], Prediction]:
    def change(labels: np.ndarray) -> Prediction:
        found = labels.astype(kind)
        found[0, 0, 0] = value
        return in_one_layer(found)

    return change


REFUSED = {
    "none": (lambda _: None, "found: None"),
    "array": (lambda labels: labels, "an array of shape (12, 14, 10), uint8, values 0 to 2"),
    "tuple": (lambda labels: (labels, labels), "a tuple of 2 (ndarray)"),
    "masks": (lambda labels: {PARTS[0]: labels == 1}, "type dict"),
    "segmentation": (lambda labels: in_one_layer(labels).segmentation, "type Segmentation"),
    "no segmentation": (lambda labels: Prediction(labels), "the answer is no segmentation"),
    "exception": (lambda _: RuntimeError("out of luck"), "RuntimeError: out of luck"),
    "shifted": (shifted, "corners differ by 0.5 mm"),
    "other shape": (lambda labels: in_one_layer(labels[1:]), "shape (11, 14, 10) instead of (12,"),
    "other spacing": (
        lambda labels: in_one_layer(labels, np.diag([2.0, 2, 2, 1])),
        "spacing (2.0, 2.0, 2.0)",
    ),
    "one-hot": (
        lambda labels: in_one_layer(np.stack([labels == 1, labels == 2])),
        "shape (2, 12, 14, 10), bool",
    ),
    "2-D": (lambda labels: in_one_layer(labels[0]), "shape (14, 10)"),
    "bare layer": (
        lambda labels: Prediction(Segmentation(labels, np.eye(4), places())),
        "no list of layers",
    ),
    "lists": (lambda labels: in_one_layer(labels.tolist()), "a list of 12 (list)"),
    "no layer": (lambda _: Prediction(Segmentation((), np.eye(4), places())), "no list of layers"),
    "empty": (lambda labels: in_one_layer(labels[:0]), "no voxel"),
    "fractions": (with_value(0.4, "float32"), "for example 0.4"),
    "NaN": (with_value(np.nan, "float32"), "1 voxels that are NaN"),
    "negative": (with_value(-1, "int16"), "values below 0; found: -1"),
    "too large": (with_value(70_000, "uint64"), "found: 0 to 70000"),
    "complex": (with_value(0, "complex64"), "not numbers; found: complex64"),
    "objects": (with_value(0, "object"), "not numbers; found: object"),
    "affine": (lambda labels: in_one_layer(labels, np.eye(3)), "affine of the answer is unusable"),
    "NaN affine": (lambda labels: in_one_layer(labels, np.eye(4) * np.nan), "affine of the answer"),
    "text affine": (lambda labels: in_one_layer(labels, "RAS"), "type str"),
    "no such layer": (
        lambda labels: in_one_layer(labels, classes=places(layers=(0, 1))),
        "in a layer that is not there; found: layer 1; expected: 0 to 0",
    ),
    "last layer": (
        lambda labels: in_one_layer(labels, classes=places(layers=(0, -1))),
        "in a layer that is not there; found: layer -1",
    ),
    "impossible value": (
        lambda labels: in_one_layer(labels, classes=places((1, 65_536))),
        "found: 65536",
    ),
    "numbers for places": (
        lambda labels: in_one_layer(labels, classes=dict(zip(PARTS, (1, 2), strict=True))),
        "type int; expected: ClassPlace",
    ),
    "list of classes": (lambda labels: in_one_layer(labels, classes=list(PARTS)), "a list of 2"),
    "other classes": (
        lambda labels: in_one_layer(labels, classes={"spleen": places()[PARTS[0]]}),
        "none of the classes asked for; found: spleen; expected: anterior hippocampus",
    ),
    "other own classes": (
        lambda labels: Prediction(
            in_one_layer(labels).segmentation,
            pack_masks({PARTS[0]: labels == 1}, np.eye(4), "direct"),
        ),
        "own_grid has other classes",
    ),
    "rotated own grid": (
        lambda labels: Prediction(
            in_one_layer(labels).segmentation,
            in_one_layer(
                labels, [[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
            ).segmentation,
        ),
        "own_grid is rotated",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_answer_is_refused_and_named(answering, change, words):
    run = answering(change)
    found = reasons(run)
    assert set(found) == {FIRST, SECOND}
    for reason in found.values():
        assert words in reason
    assert set(scores(run)["status"]) == {"prediction_missing"}
    assert not list(RunPaths(run).root.glob(f"predictions/mine/{DATASET}/*/prediction.json"))


def test_a_class_that_one_answer_lacks_counts_as_missing_there(answering, caplog):
    def change(labels: np.ndarray) -> Prediction:
        kept = places() if (labels == 2).sum() == 45 else {PARTS[0]: places()[PARTS[0]]}
        return in_one_layer(labels, classes=kept)

    run = answering(change)
    assert reasons(run) == {}
    assert f"{SECOND}: the answer has no {PARTS[1]}" in caplog.text
    rows = scores(run)
    assert rows.loc[(FIRST, PARTS[1]), "dsc"] == 1
    assert rows.loc[(SECOND, PARTS[0]), "dsc"] == 1, "the other classes of the case are kept"
    for name, lacking in ((PARTS[1], PARTS[1]), ("hippocampus", PARTS[1])):
        row = rows.loc[(SECOND, name)]
        assert row["status"] == "prediction_missing"
        assert row["reason"] == f"the answer has no `{lacking}`"
        assert row["reference_voxels"] > 0
        assert np.isnan(row["dsc"])


def test_values_without_a_voxel_are_an_empty_class(answering):
    run = answering(lambda labels: in_one_layer(labels, classes=places((1, 7))))
    assert reasons(run) == {}
    assert set(scores(run).xs(PARTS[1], level="class")["status"]) == {"prediction_empty"}


def test_an_own_grid_may_be_turned(answering, run):
    def change(labels: np.ndarray) -> Prediction:
        return Prediction(in_one_layer(labels).segmentation, permuted(labels).segmentation)

    from evaluation.config import freeze, load_frozen

    config = load_frozen(run).model_copy(update={"space": ["own"]})
    freeze(config, RunPaths(run).config)
    assert reasons(answering(change)) == {}
    assert (scores(run, "own")["dsc"] == 1).all()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (list(PARTS), "a list of 2"),
        ({"Anterior hippocampus": None}, "did you mean `anterior hippocampus`"),
        (dict.fromkeys(PARTS, True), "True"),
        (None, "None"),
    ],
)
def test_what_a_model_says_of_its_classes_is_checked(run, write_card, monkeypatch, answer, words):
    write_card(f"{CARD}Perfect\n")
    monkeypatch.setattr(Perfect, "classes", lambda *_: answer)
    with pytest.raises(BenchError, match=words):
        predict_shard(run, "mine", DATASET, 0)


def nothing(_context: Any) -> object:
    return object()


def no_answers(_context: Any) -> Any:
    class Model:
        def classes(self, _dataset: str) -> Any:
            return dict.fromkeys(PARTS, None)

    return Model()


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing", "without `classes` and `predict`"), ("no_answers", "without `predict`")],
)
def test_an_object_that_is_no_model_is_named(run, write_card, name, words):
    write_card(f"{CARD}{name}\n")
    with pytest.raises(BenchError, match=words) as caught:
        predict_shard(run, "mine", DATASET, 0)
    assert f"{__name__}:{name}" in str(caught.value)


def test_every_case_of_a_shard_gets_a_status(run, write_card, monkeypatch):
    write_card(f"{CARD}InOneGo\n")

    def first_only(self: InOneGo, cases: Sequence[ImageCase], classes: Sequence[str]) -> Any:
        yield cases[0], self.predict(cases[0], classes), 0.5

    monkeypatch.setattr(InOneGo, "predict_all", first_only)
    assert "no answer for this case" in reasons(run)[SECOND]

    def then_dies(self: InOneGo, cases: Sequence[ImageCase], classes: Sequence[str]) -> Any:
        yield from first_only(self, cases, classes)
        raise MemoryError("full")

    def another(self: InOneGo, cases: Sequence[ImageCase], classes: Sequence[str]) -> Any:
        yield self.predict(cases[0], classes)

    for folder in (RunPaths(run).prediction("mine", DATASET, name) for name in (FIRST, SECOND)):
        (folder / "prediction.json").unlink(missing_ok=True)
    monkeypatch.setattr(InOneGo, "predict_all", then_dies)
    assert "MemoryError: full" in reasons(run)[SECOND]
    monkeypatch.setattr(InOneGo, "predict_all", another)
    with pytest.raises(BenchError, match="something else than answers"):
        predict_shard(run, "mine", DATASET, 0)


def test_files_in_permuted_axes_are_read_like_answers(run, write_card):
    labels = "{msd_hippocampus: {anterior hippocampus: 1, posterior hippocampus: 2}}"
    write_card(f"  kind: prediction-folder\n  folder: predictions/mine\n  labels: {labels}\n")
    for name in (FIRST, SECOND):
        folder = RunPaths(run).case(DATASET, name)
        reference = read_reference(folder)[1]
        turned = permuted(
            np.select([reference.mask(part) for part in PARTS], [1, 2]).astype(np.uint8)
        ).segmentation
        path = Path("predictions/mine") / DATASET / f"{name}.nii.gz"
        write_volume(path, Volume(turned.layers[0], turned.affine))
    assert reasons(run) == {}
    assert (scores(run)["dsc"] == 1).all()
