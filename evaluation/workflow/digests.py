"""The settings of a step as one digest in a file, which Snakemake watches like any other input.

A step's job runs again when it changes. The job then looks closer: it keeps every artefact that it
would make again (DESIGN 3c).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.datasets.splits import split_file, split_rule
from evaluation.datasets.status import raw_state
from evaluation.files.identity import ANNOTATIONS, CASE, CONFUSIONS, SCORES, digest
from evaluation.files.writing import sha256, write_if_other
from evaluation.metrics.catalogue import versions_of
from evaluation.models.card import find_model
from evaluation.models.identity import watched
from evaluation.studies.record import find_study
from evaluation.volumes.axes import orders_among
from evaluation.workflow.plan import Plan


def is_dry_run(arguments: Sequence[str]) -> bool:
    """Whether Snakemake was asked for a plan only; it knows itself when it has read its rules."""
    flags = [word for word in arguments[1:] if re.fullmatch("-[a-zA-Z]*n[a-zA-Z]*", word)]
    return bool(flags) or not {"--dry-run", "--dryrun"}.isdisjoint(arguments)


def declare(path: Path, digest_of_settings: str) -> None:
    """Write the digest of a step's settings, unless the file has it already."""
    write_if_other(path, digest_of_settings + "\n")


def standardise_digest(card: DatasetCard, config: RunConfig) -> str:
    """What makes a shard's cases worth a look: card (not its prose), classes, and raw files.

    Of the raw files sizes and times are looked at; the job itself compares contents.
    """
    fields = {"modality", "sequence", "case_patterns", "folder", "reader", "reader_args"}
    fields |= {"classes", "ignore_values", "exclude", "patient_pattern", "markers", "grid_axes"}
    kept = card.model_dump(mode="json", include=fields)
    kept["grid_axes"] = orders_among(card.grid_axes)
    return digest(CASE, kept, scope_digest(card, config), raw_state(card, config))


def split_digest(card: DatasetCard, config: RunConfig) -> str:
    """What a split depends on besides its cases: the list, or the rule and its seed."""
    study = find_study(config.study)
    listed, rule = split_file(card.id, study), split_rule(card, study)
    text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    fold = config.fold if rule.rule == "leave-one-out" else 1
    return digest(rule, config.seed, fold, config.cohort, config.missing_data, text)


def overlaps_digest(entries: Sequence[str]) -> str:
    """What the cards of these entries say of shared scans: links hang on it, no score does."""
    return digest([o.model_dump(mode="json") for name in entries for o in find_card(name).overlaps])


def collection_digest(config: RunConfig, plan: Plan) -> str:
    """What the statistics of the collection depend on besides cases: cards, and printed numbers."""
    cards = [find_card(name) for name in (*plan.entries, *plan.not_run)]
    said = [
        (card.id, card.expected_cases, card.regions, [(c.name, c.region) for c in card.classes])
        for card in cards
    ]
    study = find_study(config.study)
    printed = study.published.collection
    return digest(ANNOTATIONS, said, "" if printed is None else sha256(study.file(printed)))


def scope_digest(card: DatasetCard, config: RunConfig) -> str:
    """Which classes of an entry are trained and scored."""
    return digest([c.name for c in classes_in_scope(card, config)])


def predict_digest(model: str, card: DatasetCard, config: RunConfig) -> str:
    """What a shard's predictions depend on besides cases and checkpoints."""
    return digest(watched(find_model(model), card.id), scope_digest(card, config))


def measure_digest(card: DatasetCard, config: RunConfig) -> str:
    """What a shard's score rows and judged sides depend on besides the masks."""
    classes = [entry.model_dump(mode="json") for entry in classes_in_scope(card, config)]
    study = find_study(config.study)
    made_in = study.protocol.of_spaces(config.space, card.id, card.grid_axes)
    metrics = versions_of(config.metrics)
    made = [
        SCORES, CONFUSIONS, config.space, config.tolerance_mm, metrics, config.definition,
        study.id, *made_in,
    ]  # fmt: skip
    return digest(made, classes)


def raters_digest(card: DatasetCard, config: RunConfig) -> str:
    """What an entry's rows of the table `raters` depend on besides the split: masks and measures.

    Of the masks names, sizes and times are looked at.
    """
    said = None if card.raters is None else card.raters.model_dump(mode="json")
    return digest(measure_digest(card, config), said, raw_state(card, config))


def tables_digest(config: RunConfig, plan: Plan) -> str:
    """What tables and report depend on besides score rows: what is declared, cards, the study."""
    entries = [find_card(name) for name in (*plan.entries, *plan.not_run)]
    models = [find_model(name) for name in config.models]
    study = find_study(config.study)
    printed = [sha256(study.file(name)) for name in study.published.names]
    scope = config.model_dump(mode="json", exclude={"stages"})
    return digest(scope, plan.not_run, entries, models, study, printed)
