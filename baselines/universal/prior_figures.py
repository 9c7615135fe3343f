"""The figures and tables of `satbench universal priors`: what only Hermes shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from baselines.universal.heat_maps import HeatMaps, best_slice, chosen_case, heat_maps
from baselines.universal.masks import HermesModel
from baselines.universal.similarity import KINDS, RULES, similarities
from baselines.universal.systems import load_model
from evaluation.config import RunConfig
from evaluation.datasets.sharding import read_split
from evaluation.errors import BenchError
from evaluation.files.spreadsheets import write_sheet
from evaluation.files.writing import atomic_path
from evaluation.models.card import find_model
from evaluation.paths import RunPaths
from evaluation.training.checkpoints import FINAL_FILE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "priors"
MOST_TASKS = 6
_WORDS = {"modality": "modality priors", "task": "task priors"}


def show_priors(paths: RunPaths, config: RunConfig, model: str) -> Iterator[Path]:
    """Write all that a run's Hermes shows below its folder; yields each file.

    `similarity.csv` and a figure of each kind of prior, and heat maps of one test case of each
    entry. Virtual patients are named as such in every title.

    Raises:
        BenchError: the model is not Hermes, or was not trained in this run.
    """
    file = paths.model_run(model) / FINAL_FILE
    if not file.is_file():
        raise BenchError(f"no checkpoint of `{model}` in this run", file=file)
    loaded = load_model(file)
    if not isinstance(loaded, HermesModel):
        raise BenchError(
            f"`{model}` has no priors", file=file, expected="a model of Hermes-R or Hermes-M"
        )
    folder = paths.model_run(model) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    title = find_model(model).title
    if config.data_kind == "synthetic":
        title += ", virtual patients"
    table = similarities(loaded.network, loaded.known)
    write_sheet(folder / "similarity.csv", table, "%.6f")
    yield folder / "similarity.csv"
    for kind in KINDS:
        drawn = similarity_figure(
            table[table["kind"] == kind], f"{title}: cosine of {_WORDS[kind]}"
        )
        yield _save(drawn, folder / f"similarity-{kind}.png")
    for entry in loaded.known.entries:
        if not paths.split(entry.dataset).is_file():
            continue
        tests = [row.case for row in read_split(paths, entry.dataset) if row.split == "test"]
        if tests:
            case = chosen_case(paths, entry.dataset, entry.classes, tests)
            maps = heat_maps(loaded, paths, entry.dataset, case)
            yield _save(heat_map_figure(maps, title), folder / f"heat-maps-{entry.dataset}.png")


def similarity_figure(table: pd.DataFrame, title: str) -> Figure:
    """A matrix for each rule that joins the levels, side by side on one scale."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(table["prior"]))
    many = len(names) > 8
    side = max(2.2, 0.17 * len(names))
    labels = 0.06 * max(map(len, names))  # inches that the longest name takes
    size = (3 * side + labels + 1.6, side + labels + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(RULES), sharey=True, squeeze=False)[0]
    # The diagonal is 1 everywhere: the scale is that of the others.
    others = table[table["prior"] != table["other"]]["cosine"].abs()
    reach = max(0.05, float(others.max())) if len(others) else 1.0
    shown = None
    for panel, rule in zip(axes, RULES, strict=True):
        found = table[table["rule"] == rule].pivot(index="prior", columns="other", values="cosine")
        values = found.loc[names, names].to_numpy()
        shown = panel.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach)
        panel.set_title(rule + (" (the rule)" if rule == next(iter(RULES)) else ""), fontsize=8)
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        panel.set_yticks(range(len(names)), names, fontsize=6)
        if not many:
            for row, column in ((i, j) for i in range(len(names)) for j in range(len(names))):
                value = values[row, column]
                ink = "white" if abs(value) > 0.6 * reach else "black"
                panel.text(column, row, f"{value:.2f}", ha="center", va="center",
                           fontsize=6, color=ink)  # fmt: skip
    assert shown is not None
    figure.colorbar(shown, ax=list(axes), shrink=0.8, label="cosine (the diagonal is 1)")
    figure.suptitle(title, fontsize=9)
    return figure


def heat_map_figure(maps: HeatMaps, title: str) -> Figure:
    """Coronal slices: the image above, the map below; reference green, the map's 0 in black."""
    from matplotlib.figure import Figure

    order = sorted(range(len(maps.names)), key=lambda t: -int(maps.references[t].sum()))
    tasks = sorted(order[:MOST_TASKS])
    figure = Figure(figsize=(max(3.2, 1.7 * len(tasks) + 1.0), 4.2), layout="constrained")
    axes = figure.subplots(2, len(tasks), squeeze=False)
    spacing = maps.spacing_mm
    for column, task in enumerate(tasks):
        y = best_slice(maps, task)
        image, found = maps.image[:, y].T, maps.maps[task][:, y].T
        reference = maps.references[task][:, y].T.astype(float)
        reach = float(abs(maps.maps[task]).max()) or 1.0
        look = {"origin": "lower", "aspect": spacing[2] / spacing[0], "interpolation": "nearest"}
        axes[0, column].imshow(image, cmap="gray", **look)
        shown = axes[1, column].imshow(found, cmap="RdBu_r", vmin=-reach, vmax=reach, **look)
        for panel in axes[:, column]:
            if reference.any():
                panel.contour(reference, [0.5], colors="#009E73", linewidths=1.0)
            # The patient's right is on the left, as radiologists look at a patient.
            panel.invert_xaxis()
            panel.set_xticks([])
            panel.set_yticks([])
        if found.min() < 0 < found.max():
            axes[1, column].contour(found, [0.0], colors="black", linewidths=0.7)
        axes[0, column].set_title(maps.names[task], fontsize=7)
        bar = figure.colorbar(shown, ax=axes[1, column], orientation="horizontal", shrink=0.9)
        bar.ax.tick_params(labelsize=5)
    axes[0, 0].set_ylabel("image", fontsize=7)
    axes[1, 0].set_ylabel("prototype · feature", fontsize=7)
    figure.suptitle(
        f"{title}\n{maps.dataset}, case {maps.case}\ngreen: reference, black: map = 0", fontsize=7
    )
    return figure


def _save(figure: Figure, path: Path) -> Path:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    return path
