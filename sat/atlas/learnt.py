"""What the text-atlas stage of a run has learnt, for `satbench sat retrieval` and its own end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sat.atlas.setup import AtlasRun


def atlas_of(run: Path, threads: int) -> AtlasRun:
    """The text-atlas stage of a run."""
    import torch

    from evaluation.config import load_frozen
    from evaluation.models.presets import preset_in_use
    from evaluation.paths import RunPaths
    from sat.atlas.setup import prepare_atlas
    from sat.config import MODEL, load_preset, stage_2_store

    torch.set_num_threads(threads)
    config = load_frozen(run)
    paths = RunPaths(run)
    preset = load_preset(preset_in_use(paths, config, MODEL))
    work = paths.model_run(MODEL)
    return prepare_atlas(work, stage_2_store(paths, work, preset), preset, config.seed)


def report_lines(found: dict[str, object]) -> list[str]:
    """Retrieval before and after, from `measure_atlas`, a line for each."""
    lines = []
    for when in ("before", "after"):
        counts = found[when]
        assert isinstance(counts, dict)
        shown = ", ".join(
            f"{title} {_percent(counts[key])}"
            for title, key in (
                ("R@1", "recall_at_1"),
                ("R@5", "recall_at_5"),
                ("R@10", "recall_at_10"),
                ("side confused", "side_confusion"),
                ("neighbour confused", "neighbour_confusion"),
            )
        )
        lines.append(f"{when}: {shown} ({counts['regions']} regions, {counts['texts']} texts)")
    return lines


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"
