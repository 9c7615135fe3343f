"""`satbench remove` and `satbench rename`: models that were added to a run."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.cases import PREDICTION_FILE
from evaluation.config import freeze, load_frozen
from evaluation.errors import BenchError
from evaluation.files.card_places import card_candidates
from evaluation.files.reading import text_of
from evaluation.files.records import read_card, require_id
from evaluation.files.sums import discard, forget, remember_folder
from evaluation.files.tables import arrow_of
from evaluation.files.writing import atomic_path, write_text
from evaluation.models.added import read_added, write_added
from evaluation.models.card import CARD_FOLDER, USER_CARD_FOLDER, ModelCard, ModelId, find_model
from evaluation.paths import RunPaths
from evaluation.runs.carrying import carry_cards
from evaluation.runs.provenance import write_record
from evaluation.stress.table import rename_in_stress
from evaluation.tables.run_tables import MADE_HERE, aggregate_run, expected_of
from evaluation.tables.scores import score_files
from evaluation.workflow.adding import Say, render
from evaluation.workflow.lock import RunLock

# Folders of a run with one folder for each model; a model's own folder comes in `runs` besides.
WORK = (
    "predictions", "scores", "stress", "settings/predict", "benchmarks/predict",
    "benchmarks/measure", "logs/predict", "logs/measure",
)  # fmt: skip


def remove_model(run: Path, model_id: str, say: Say) -> None:
    """Take an added model out of a run, with its predictions and scores, tables and report.

    What the run no longer declares can be removed in the same way: a model that the
    configuration named earlier, or one whose `add` was stopped. The user's card and predictions,
    and the model's own folder `runs/<id>` with what it was trained to, stay.

    Raises:
        BenchError: the configuration names the model, the run has nothing of it, or another
            command works on the run.
    """
    load_frozen(run)
    with RunLock(run, f"`satbench remove {model_id}`").held():
        paths, config = RunPaths(run), load_frozen(run)
        added = read_added(run)
        _refuse_configured(paths, model_id, added, f"take `{model_id}` out of `models:` there")
        folders = [folder for part in WORK if (folder := run / part / model_id).is_dir()]
        if model_id not in added and not folders:
            raise BenchError(
                f"this run has no added model `{model_id}`",
                file=paths.added,
                found=", ".join(added) or "no added model",
            )
        # Undeclared first: what a kill leaves behind is then left over, and shown nowhere.
        write_added(run, [name for name in added if name != model_id])
        models = [name for name in config.models if name != model_id]
        config = config.model_copy(update={"models": models})
        freeze(config, paths.config)
        carry_cards(paths, config)
        for folder in folders:
            discard(folder)
            say(f"deleted {folder}")
        rename_in_stress(paths, model_id, None)
        if (own := paths.model_run(model_id)).is_dir():
            say(f"kept {own}, the model's own folder")
        _show(run, say)


def rename_model(run: Path, old: str, new: str, say: Say) -> None:
    """Give an added model another id, in its card and in all that the run has of it.

    The card file is renamed too, unless the user has done so. Nothing is predicted or measured
    again. A call that was killed is finished by the same call.

    Raises:
        BenchError: the configuration names the model, the new id is no id or is taken, the
            card under the new id says something else of how to predict, or another command
            works on the run.
    """
    require_id(new, ModelId, "model", "-_.")
    load_frozen(run)
    with RunLock(run, f"`satbench rename {old} {new}`").held():
        paths, config = RunPaths(run), load_frozen(run)
        added = read_added(run)
        _refuse_configured(paths, old, added, f"put `{new}` in its place there")
        if old not in added:
            raise BenchError(
                f"this run has no added model `{old}`",
                file=paths.added,
                found=", ".join(added) or "no added model",
            )
        parts = (*WORK, "runs", "settings/stage/runs")
        moves = [(run / part / old, run / part / new) for part in parts]
        taken = [target for source, target in moves if source.exists() and target.exists()]
        if new in config.models or (CARD_FOLDER / f"{new}.yaml").is_file() or taken:
            raise BenchError(
                f"there is a model `{new}` already",
                file=taken[0] if taken else None,
                hint=f"choose another id, or `satbench remove {new} --run {run}` first",
            )
        if (CARD_FOLDER / f"{old}.yaml").is_file():
            raise BenchError(f"`{old}` is a built-in model, whose card has its id for good")
        _rename_card(paths, old, new, say)
        for source, target in moves:
            if source.is_dir():
                forget(source)
                source.rename(target)
                remember_folder(target)
        _rename_inside(run, new)
        rename_in_stress(paths, old, new)
        write_added(run, [new if name == old else name for name in added])
        models = [new if name == old else name for name in config.models]
        config = config.model_copy(update={"models": models})
        freeze(config, paths.config)
        carry_cards(paths, config)
        _show(run, say)


def _refuse_configured(paths: RunPaths, name: str, added: list[str], hint: str) -> None:
    if name in load_frozen(paths.root).models and name not in added:
        raise BenchError(
            f"`{name}` is a model of the run's configuration, not an added one",
            file=paths.config,
            hint=f"{hint}, in the configuration file, and run snakemake",
        )


def _rename_card(paths: RunPaths, old: str, new: str, say: Say) -> None:
    there = card_candidates("models", old)
    own = USER_CARD_FOLDER / f"{new}.yaml"
    renamed = find_model(new) if card_candidates("models", new) else None
    if renamed is None:
        source = Path(there[0]) if there else paths.cards / "models" / f"{old}.yaml"
        text = source.read_text(encoding="utf-8")
        text, n = re.subn(rf"(\bid\s*:\s*)([\"']?){re.escape(old)}\2", rf"\g<1>\g<2>{new}\g<2>",
                          text, count=1)  # fmt: skip
        target = source.with_name(f"{new}.yaml")
        if not n:
            raise BenchError(f"the card does not say `id: {old}`", file=source)
        write_text(target, text)
        source.unlink()
        say(f"renamed {source} to {target}")
    elif there:
        before = read_card(there[-1], ModelCard)
        if before.adapter != renamed.adapter:
            raise BenchError(
                f"the card `{new}` does not predict as `{old}` did",
                file=own,
                found=renamed.adapter.model_dump_json(),
                expected=before.adapter.model_dump_json(),
                hint=f"`satbench add {new} --run {paths.root}` takes it as a model of its own",
            )


def _rename_inside(run: Path, new: str) -> None:
    """Write the new id into records of predictions and into score rows."""
    for path in (run / "predictions" / new).glob(f"*/*/{PREDICTION_FILE}"):
        text = text_of(path)
        write_text(path, re.sub(r'("model":\s*)"[^"]*"', rf'\g<1>"{new}"', text, count=1))
    scores = run / "scores" / new
    for path in scores.rglob("[!.]*.parquet"):
        table = arrow_of(path)
        at = table.schema.get_field_index("model")
        field = table.schema.field(at)
        names = pa.array([new] * len(table), type=field.type)
        with atomic_path(path) as temporary:
            pq.write_table(table.set_column(at, field, names), temporary, compression="zstd")


def _show(run: Path, say: Say) -> None:
    """Make tables, record and report of what the run now declares."""
    paths = RunPaths(run)
    if score_files(paths, expected_of(run)[0]):
        for line in aggregate_run(run):
            say(line)
        write_record(run)
        render(run)
        return
    for name in MADE_HERE:
        discard(paths.table(name))
    say("no model of this run has scores now; its tables are deleted, its report is of before")
