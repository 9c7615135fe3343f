"""The evaluation step of a challenge in a container: `/input` in, `/output/metrics.json` out.

By the convention of grand-challenge.org. `/input/predictions.json` lists a job for each case, with
the name of the image that it was given and the place of its answer,
`/input/<job>/output/<relative path>/<one file>`. Without that list, the input is a folder of
predictions, such as an unpacked submission.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation import __version__
from evaluation.errors import BenchError
from evaluation.files.reading import json_of
from evaluation.files.writing import visible, write_json
from evaluation.metrics.catalogue import metrics_among
from evaluation.scoring.folder_pairs import Settings
from evaluation.scoring.folders import Outcome, evaluate
from evaluation.scoring.inputs import volumes_in
from evaluation.scoring.summary import values_under
from evaluation.volumes.image_files import has_volume_suffix, stem_of

LIST = "predictions.json"
METRICS = "metrics.json"
SCORES = "scores.csv"
_LONGEST = 200  # bytes of a file's name, with room for a suffix


@dataclass(frozen=True)
class Challenge:
    """What is evaluated, and how.

    Attributes:
        references: folder of label maps (or masks by class), in the image.
        given: slug of the input whose image's name is the case; None: the only image.
        answer: slug of the output that is scored; None: the only image.
        labels: file of the classes, as for `satbench evaluate`.
        settings: metrics and tolerances.
        policy: what empty masks count.
    """

    references: Path
    settings: Settings
    policy: str
    labels: Path | None = None
    given: str | None = None
    answer: str | None = None


def evaluate_challenge(asked: Challenge, source: Path, out: Path, jobs: int = 1) -> Outcome:
    """Score a submission and write `metrics.json` and `scores.csv`.

    A job that failed, or has no answer, is a missing prediction and counts as one.

    Raises:
        BenchError: the list or a reference cannot be used; then there is no `metrics.json`.
    """
    if out.exists() and not out.is_dir():
        raise BenchError("the output is no folder", file=out, hint="name a folder in --output")
    _require_inside(source)
    with tempfile.TemporaryDirectory(prefix="satbench-") as scratch:
        predictions = source
        if (source / LIST).is_file():
            predictions = Path(scratch) / "predictions"
            _lay_out(source, predictions, asked)
        rows = Path(scratch) / SCORES
        outcome = evaluate(asked.references, predictions, rows, asked.settings, asked.labels, jobs)
        if outcome.failed:
            case, why = next(iter(outcome.failed.items()))
            raise BenchError(
                f"the reference of `{case}` cannot be used", file=asked.references, found=why,
                hint="no metrics are written: a mean without this case would be another number",
            )  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(rows, out / SCORES)
    write_json(out / METRICS, metrics_of(outcome, asked.policy))
    return outcome


def metrics_of(outcome: Outcome, policy: str) -> dict[str, Any]:
    """Means and values by case, as JSON: `aggregates.dsc.mean`, `aggregates.nsd_1mm.liver`.

    Keys are letters, digits and `_`, since leaderboards name values by paths with dots; what is
    not defined is null.
    """
    aggregates: dict[str, dict[str, float | None]] = {}
    cases: dict[str, dict[str, Any]] = {
        str(case): {"case": str(case)} for case in outcome.rows["case"].unique()
    }
    for key, part in _by_metric(outcome.rows, policy):
        by_class = part.groupby("class", sort=False)["value"].mean()
        aggregates[key] = {"mean": _number(by_class.mean())} | {
            _key(str(name)): _number(value) for name, value in by_class.items()
        }
        for case, name, value in part[["case", "class", "value"]].itertuples(index=False):
            cases[str(case)].setdefault(key, {})[_key(str(name))] = _number(value)
    return {
        "aggregates": aggregates,
        "results": list(cases.values()),
        "missing": outcome.missing,
        "policy": policy,
        "satbench": __version__,
    }


def _by_metric(rows: pd.DataFrame, policy: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each metric, with its tolerance in the key if it has one, and its rows with a `value`."""
    tolerances = sorted(rows["tolerance_mm"].unique())
    for metric in metrics_among(rows.columns):
        counted = rows.assign(value=values_under(rows, metric, policy))
        for tolerance in tolerances if metric.has_tolerance else tolerances[:1]:
            key = f"{metric.id}_{tolerance:g}mm" if metric.has_tolerance else metric.id
            yield _key(key), counted[counted["tolerance_mm"] == tolerance]


def _require_inside(source: Path) -> None:
    """Refuse links out of the input: one to a reference would be a perfect answer."""
    inside = source.resolve()
    for path in source.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise BenchError(
                "a link leads out of the input", file=path, found=path.readlink(),
                expected="files of the submission's own", hint="put the file itself there",
            )  # fmt: skip


def _lay_out(source: Path, folder: Path, asked: Challenge) -> None:
    """The answers of all jobs as `<case>.<suffix>`, as links."""
    folder.mkdir()
    listed = json_of(source / LIST)
    if not isinstance(listed, list):
        raise _strange(source, "a list of jobs", type(listed).__name__)
    for job in listed:
        if not isinstance(job, Mapping) or not {"pk", "inputs", "outputs"} <= job.keys():
            raise _strange(source, "jobs with pk, inputs and outputs", str(job)[:200])
        given = _image(source, job["inputs"], asked.given, "--case-from")
        value = _image(source, job["outputs"], asked.answer, "--answer")
        if given is None or not isinstance(given.get("image"), Mapping):
            raise _strange(source, "an input image for each job", str(job["inputs"])[:200])
        name = given["image"].get("name")
        if not isinstance(name, str) or not name.isprintable() or len(name.encode()) > _LONGEST:
            raise _strange(source, "the name of each job's input image", repr(name)[:200])
        case = stem_of(Path(name))
        if value is None:
            continue
        parts = str(job["pk"]), "output", str(_socket(value).get("relative_path", ""))
        if not all(part.isprintable() for part in parts):
            raise _strange(source, "places below the input", repr(parts)[:200])
        place = source.joinpath(*parts)
        if not place.resolve().is_relative_to(source.resolve()):
            raise _strange(source, "places below the input", str(place))
        files = volumes_in(place) if place.is_dir() else [place] if place.is_file() else []
        if len(files) > 1:
            raise BenchError(
                f"a job has several answers for `{case}`", file=place,
                found=", ".join(file.name for file in files), expected="one file",
            )  # fmt: skip
        for file in files:
            suffix = file.name[len(stem_of(file)) :]
            target = folder / f"{case}{suffix}"
            if not has_volume_suffix(target) or target.name != Path(target.name).name:
                raise _strange(source, "images by their suffix", file.name)
            if target.is_symlink():
                raise _strange(source, "one job for each case", f"two for {case}")
            target.symlink_to(file.resolve())
    if not visible(folder):
        raise BenchError(
            "no job has an answer", file=source / LIST, found=f"{len(listed)} jobs",
            hint="check the relative paths of the outputs",
        )  # fmt: skip


def _image(source: Path, values: Any, slug: str | None, option: str) -> Any:
    """The value of a slug; without one, the only image. None: there is none."""
    if not isinstance(values, list):
        raise _strange(source, "lists of inputs and outputs", repr(values)[:200])
    there = [v for v in values if isinstance(v, Mapping)]
    found = [v for v in there if (_socket(v).get("slug") == slug if slug else v.get("image"))]
    if len(found) > 1:
        raise BenchError(
            "it is not clear which image of a job is meant", file=source / LIST,
            found=", ".join(str(_socket(v).get("slug")) for v in found), expected="one",
            hint=f"name its slug by {option}",
        )  # fmt: skip
    return found[0] if found else None


def _socket(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What says slug and place; `interface` until it was renamed."""
    found = value.get("socket") or value.get("interface")
    return found if isinstance(found, Mapping) else {}


def _strange(source: Path, expected: str, found: str) -> BenchError:
    return BenchError(
        "the list of jobs cannot be used", file=source / LIST, expected=expected, found=found
    )


def _key(text: str) -> str:
    return re.sub(r"\W+", "_", text)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
