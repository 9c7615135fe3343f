"""The metrics themselves: records, values by hand, and how their files are found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from evaluation.cli import build
from evaluation.errors import BenchError
from evaluation.metrics import ENGINES, definitions, score
from evaluation.metrics.catalogue import all_metrics, find_metric, find_metrics
from evaluation.metrics.distances.distribution import Distribution, SurfaceDistances
from evaluation.metrics.instances.scores import InstanceScores
from evaluation.metrics.metric import Further, Measurement, Metric
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

NAN = math.nan
SPACING = (0.5, 2.0, 3.0)
VOXEL_ML = 0.003


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder in which metrics are found."""
    monkeypatch.setattr(definitions, "__path__", [*definitions.__path__, str(tmp_path)])
    all_metrics.cache_clear()
    yield tmp_path
    all_metrics.cache_clear()


def boxes(reference: int, prediction: int, common: int) -> tuple[Segmentation, Segmentation]:
    """Two masks of these numbers of voxels, of which so many are in both."""
    sides = []
    for start, size in ((0, reference), (reference - common, prediction)):
        line = np.zeros(64, dtype=np.uint8)
        line[start : start + size] = 1
        place = {"1": ClassPlace(kind="annotated", parts=(Part(layer=0, values=(1,)),))}
        affine = np.diag([*SPACING, 1.0])
        sides.append(Segmentation((line.reshape(4, 4, 4),), affine, place))
    return sides[0], sides[1]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("reference", "prediction", "common", "expected"),
    [
        (20, 10, 5, {"dsc": 10 / 30, "volume_difference": -10, "relative_volume_error": 0.5}),
        (10, 25, 0, {"dsc": 0, "volume_difference": 15, "relative_volume_error": 1.5}),
        (8, 8, 8, {"dsc": 1, "nsd": 1, "volume_difference": 0, "relative_volume_error": 0}),
        (8, 0, 0, {"dsc": 0, "nsd": 0, "volume_difference": -8, "relative_volume_error": 1}),
        (0, 6, 0, {"dsc": 0, "nsd": 0, "volume_difference": 6, "relative_volume_error": NAN}),
        (0, 0, 0, {"dsc": NAN, "nsd": NAN, "volume_difference": NAN, "relative_volume_error": NAN}),
    ],
)
def test_values_by_hand(engine, reference, prediction, common, expected) -> None:
    pair = boxes(reference, prediction, common)
    # The other engines measure no distances.
    asked = [m.id for m in all_metrics().values() if engine == "sweep" or not m.needs_more]
    (found,) = score(*pair, SPACING, [1.0], ["1"], engine, asked)
    assert list(found.values) == asked
    for name, value in expected.items():
        wanted = value * VOXEL_ML if name == "volume_difference" else value
        assert found[name] == pytest.approx(wanted, nan_ok=True), name


@given(st.integers(1, 40), st.integers(1, 24))
def test_both_volume_metrics_agree(reference: int, prediction: int) -> None:
    """The absolute difference is the relative error times the reference; sides exchange signs."""
    names = ["volume_difference", "relative_volume_error"]
    a, b = boxes(reference, prediction, 0)
    (found,) = score(a, b, SPACING, [1.0], ["1"], metrics=names)
    (turned,) = score(b, a, SPACING, [1.0], ["1"], metrics=names)
    volume_ml = reference * VOXEL_ML
    assert abs(found["volume_difference"]) == pytest.approx(
        found["relative_volume_error"] * volume_ml
    )
    assert turned["volume_difference"] == pytest.approx(-found["volume_difference"])


def test_every_record_and_its_function_agree() -> None:
    """Wherever both sides hold something, the value lies in the declared range."""
    generator = np.random.default_rng(0)
    for metric in all_metrics().values():
        assert metric.title
        assert metric.definition
        for _ in range(50):
            sizes = generator.integers(1, 1000, 2)
            areas = generator.uniform(1, 50, 2)
            within = areas * generator.uniform(0, 1, 2)
            common = int(generator.integers(0, sizes.min() + 1))
            distances = [
                Distribution.of(generator.uniform(0, 9, 20), generator.uniform(0, 1, 20))
                for _ in range(2)
            ]
            tp, fp, fn = generator.integers(1, 9, 3).tolist()
            shares = generator.uniform(0, 1, 7)
            instances = InstanceScores(tp + fn, tp + fp, tp, fp, fn, *shares, 1.0, 2.0)
            further = Further(SurfaceDistances(*distances), {1: shares[0]}, instances)
            value = metric.value(
                Measurement(
                    (1.0, 1.0, 2.0), 1.0, int(sizes[0]), int(sizes[1]), common,
                    areas[0], within[0], areas[1], within[1], further,
                )
            )  # fmt: skip
            assert metric.low <= value <= metric.high


def test_a_file_is_a_metric_and_only_a_metric(folder: Path) -> None:
    before = set(all_metrics())
    all_metrics.cache_clear()
    text = Path(definitions.__path__[0], "dsc.py").read_text()
    (folder / "overlap.py").write_text(text.replace('id="dsc"', 'id="overlap"'))
    assert set(all_metrics()) == {*before, "overlap"}
    all_metrics.cache_clear()
    (folder / "other_name.py").write_text(text)
    with pytest.raises(BenchError, match="id `dsc`") as caught:
        all_metrics()
    assert "other_name" in str(caught.value)
    all_metrics.cache_clear()
    (folder / "other_name.py").write_text("")
    # The module is known by now under this name.
    (folder / "other_name.py").rename(folder / "empty.py")
    with pytest.raises(BenchError, match="no `METRIC`"):
        all_metrics()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"missing": 2}, "outside the range"),
        ({"low": 1, "high": 1}, "must be below"),
        ({"direction": "up"}, "direction"),
        ({"colour": "red"}, "colour"),
        ({"id": "D S C"}, "id"),
    ],
)
def test_impossible_records_are_refused(change: dict[str, object], says: str) -> None:
    dsc = find_metric("dsc")
    record = {name: getattr(dsc, name) for name in Metric.model_fields}
    assert Metric.model_validate(record) == dsc
    with pytest.raises(ValidationError, match=says):
        Metric.model_validate(record | change)


def test_unknown_metrics_are_explained() -> None:
    with pytest.raises(BenchError, match="no metric `dcs`") as caught:
        find_metrics(["nsd", "dcs"])
    assert "`dsc`" in str(caught.value)


def test_the_command_lists_them() -> None:
    result = CliRunner().invoke(build(), ["metrics"])
    assert result.exit_code == 0, result.output
    assert "relative_volume_error: absolute difference" in result.output
    result = CliRunner().invoke(build(), ["metrics", "--json"])
    listed = {row["metric"]: row for row in json.loads(result.output)}
    assert set(listed) == set(all_metrics())
    assert listed["volume_difference"]["better"] == "none"
    assert listed["volume_difference"]["prediction missing"] == "undefined"


def test_precision_and_recall_part_the_two_kinds_of_errors() -> None:
    """A mask twice as large as the structure in it finds all and is half wrong."""
    reference, prediction = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    reference[2:4, 2:4, 2:4], prediction[2:6, 2:4, 2:4] = True, True
    empty = np.zeros_like(reference)

    def values(reference: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
        measured = Measurement(
            (1, 1, 1), 1.0, int(reference.sum()), int(prediction.sum()),
            int((reference & prediction).sum()), 0, 0, 0, 0,
        )  # fmt: skip
        return find_metric("precision").value(measured), find_metric("recall").value(measured)

    assert values(reference, prediction) == (0.5, 1)
    assert values(prediction, reference) == (1, 0.5)
    precision, recall = values(reference, empty)
    assert math.isnan(precision)
    assert recall == 0
    precision, recall = values(empty, prediction)
    assert precision == 0
    assert math.isnan(recall)
