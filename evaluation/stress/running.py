"""`satbench stress`: the test cases of a run, asked in changed words; what is done is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from evaluation.cases import CaseRecord, ImageCase, read_image_case, read_reference
from evaluation.config import RunConfig, load_frozen
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError, in_one_line
from evaluation.files.identity import STRESS, digest
from evaluation.files.reading import mapping_of
from evaluation.files.writing import FULL, write_json
from evaluation.models.adapters import build_model
from evaluation.models.card import find_model
from evaluation.models.identity import prediction_made_from
from evaluation.models.protocol import TextModel
from evaluation.paths import RunPaths
from evaluation.runs.declared import entries_with_split
from evaluation.stress.answers import Answer, answers_under_stress
from evaluation.stress.kinds import Prompt
from evaluation.stress.prompts import facts_of, prompts_of
from evaluation.volumes.segmentation import Segmentation

Say = Callable[[str], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extent:
    """How much is asked: at most so many test cases of an entry, and classes of a case."""

    cases: int = 20
    classes: int = 8


@dataclass(frozen=True)
class StressedCase:
    """A test case and what became of its prompts; `reason` says why there are no answers."""

    dataset: str
    case: str
    patient: str
    modality: str
    answers: tuple[Answer, ...]
    reason: str = ""


def stress_model(run: Path, model_id: str, extent: Extent, say: Say) -> list[StressedCase]:
    """Ask a model for the prompts of each case and keep the answers in the run.

    A case is asked again only if its image, reference or prompts, or the model, changed.

    Args:
        run: run folder with standardised cases and splits.
        model_id: of a card whose model takes text (`evaluation.models.protocol.TextModel`).
        extent: how much is asked.
        say: called with one line for each case.

    Raises:
        BenchError: the model takes no text, cannot be built, or failed on every case.
    """
    paths, config = RunPaths(run), load_frozen(run)
    card = find_model(model_id)
    model = build_model(model_id, paths, config)
    if not isinstance(model, TextModel):
        raise BenchError(
            f"`{model_id}` cannot be asked in free words",
            file=f"model card {model_id}",
            expected="a Python object with `predict_texts(case, texts)`, or a command with "
            "`texts: true`",
            hint="docs/pages/models.md, `A promptable model`",
        )
    done: list[StressedCase] = []
    for case, entry in _cases(paths, config, extent.cases):
        record, reference, prompts = scan_prompts(paths, config, entry, case.case, extent.classes)
        target = paths.stressed(model_id, case.dataset, case.case)
        texts = list(dict.fromkeys(text for p in prompts for text in (*p.classes, p.text)))
        labels = [list(asdict(p).values()) for p in prompts]
        asked = prediction_made_from(card, model, case, texts)
        made_from = digest(STRESS, asked, labels, record.labels)
        about = (case.dataset, case.case, case.patient, case.modality)
        answers = _kept(target, made_from)
        if answers is None:
            try:
                answers = tuple(answers_under_stress(model, case, reference, prompts))
            except Exception as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise
                log.warning("%s failed on %s", model_id, case.case, exc_info=True)
                done.append(StressedCase(*about, (), in_one_line(error)))
                say(f"{case.dataset}/{case.case}: failed: {done[-1].reason}")
                continue
            write_json(target, {"made_from": made_from, "answers": [asdict(a) for a in answers]})
        done.append(StressedCase(*about, answers))
        say(f"{case.dataset}/{case.case}: {len(answers)} prompts")
    failed = [case for case in done if case.reason]
    if len(failed) == len(done):
        raise BenchError(
            f"`{model_id}` failed on all {len(done)} cases" if done else "no case to ask about",
            found=failed[0].reason if failed else "no test case with an image in this run",
        )
    return done


def scan_prompts(
    paths: RunPaths, config: RunConfig, entry: DatasetCard, case: str, most_classes: int
) -> tuple[CaseRecord, Segmentation, list[Prompt]]:
    """Record and reference of a case, and the prompts that every model is asked by."""
    record, reference = read_reference(paths.case(entry.id, case))
    scope = [c.name for c in classes_in_scope(entry, config)]
    facts = facts_of(entry, record, reference, scope)
    return record, reference, prompts_of(facts, f"{entry.id}/{case}", config.seed, most_classes)


def _cases(
    paths: RunPaths, config: RunConfig, most: int
) -> Iterator[tuple[ImageCase, DatasetCard]]:
    """The first test cases of each entry that could be standardised."""
    for dataset in entries_with_split(paths, config):
        entry, found = find_card(dataset), 0
        for row in read_split(paths, entry.id):
            if row.split != "test" or found == most:
                continue
            try:
                case = read_image_case(paths.case(entry.id, row.case))
            except BenchError:
                continue
            found += 1
            yield case, entry


def _kept(path: Path, made_from: str) -> tuple[Answer, ...] | None:
    """Answers that would be made the same way; None: ask."""
    try:
        kept = mapping_of(path)
        if kept["made_from"] != made_from:
            return None
        return tuple(Answer(**values) for values in kept["answers"])
    except (KeyError, TypeError):
        return None
