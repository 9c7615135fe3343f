"""What the run's cases hold: annotations and classes by region, and of every class by its name."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.figures.choice import label
from reports.figures.collection import bars_by_region, modality_looks
from reports.figures.drawing import Drawing, legend, log_axis, whole_numbers
from reports.layout.style import Look, canvas
from reports.source.run import RunSource
from reports.source.words import REGION_ORDER, count, kind, modality_title, region_title

MOST_NAMES = 64
"""Names that are readable one beside the other below a figure of double width."""
SHORT = 28
"""Signs of such a name."""
ROWS = 58
"""Lines one below the other on a page."""
ROW_MM = 3.4
Line = tuple[str, dict[str, Any] | None]
"""Of a column: the name of a region, or a class."""


def annotation_figures(source: RunSource) -> list[Drawing]:
    """By region, by class in falling order, and of every class by name.

    They need the counts of the run's cases in `collection/`.
    """
    regions, classes = source.collection("regions"), source.collection("classes")
    if regions is None or classes is None or classes.empty:
        return []
    falling = classes.reset_index().sort_values(
        ["annotations", "class", "modality"], ascending=[False, True, True], ignore_index=True
    )
    said = (
        f"{kind(source)}{int(falling['annotations'].sum()):,} masks with at least one voxel in all "
        f"scans of the run's splits, {count(len(falling), 'class', 'classes')} by (modality, "
        "name); generated classes included."
    )
    return [
        _regions(regions.reset_index(), said),
        _long_tail(falling, said),
        *_every_class(falling, said),
    ]


def _regions(regions: pd.DataFrame, said: str) -> Drawing:
    """Annotations, and classes that are annotated, by region and modality."""
    figure, panels = canvas("double", 70, columns=2)
    shown = modality_looks(regions["modality"])
    data = {}
    for axes, what, words in zip(
        panels, ("annotations", "classes"), ("annotations (masks)", "classes"), strict=True
    ):
        rows: Any = regions[["region", "modality", what]].itertuples(index=False, name=None)
        counted = {(str(region), str(modality)): int(n) for region, modality, n in rows}
        bars_by_region(axes, counted, shown, words)
        whole_numbers(axes)
        data[what] = {f"{region}:{modality}": n for (region, modality), n in counted.items()}
    legend(figure, [(modality_title(m), look, False) for m, look in shown.items()], "bar")
    return Drawing(
        name="collection_annotations",
        title="Annotations and classes by region",
        caption=f"{said} Regions by anatomy.",
        figure=figure,
        data=data,
    )


def _long_tail(falling: pd.DataFrame, said: str) -> Drawing:
    """A bar for each class, the most annotated first; of many, every k-th has its name."""
    figure, axes = canvas("double", 100)
    shown = modality_looks(falling["modality"])
    for modality, look in shown.items():
        heights = falling.loc[falling["modality"] == modality, "annotations"]
        axes.bar(heights.index, heights, 0.85, **_plain(look))
    axes.set_xlim(-0.7, len(falling) - 0.3)
    log_axis(axes, "y")
    axes.set_ylim(bottom=0.8)
    every = -(-len(falling) // MOST_NAMES)
    rows: Any = falling[["class", "modality"]].itertuples(index=False, name=None)
    names = [_name(name, modality, SHORT) for name, modality in rows][::every]
    places = range(0, len(falling), every)
    axes.set_xticks(places, names, rotation=90, fontsize=5.5 if len(names) > 30 else 6.5)
    axes.set_ylabel("annotations (masks)")
    axes.grid(visible=True, axis="y")
    _legend(figure, shown)
    counts = falling["annotations"].astype(int)
    some = f" Named: every {every}th class." if every > 1 else ""
    return Drawing(
        name="collection_long_tail",
        title="Annotations by class",
        caption=f"Classes by their number of annotations, the most annotated first.{some} {said}",
        figure=figure,
        data=dict(zip(falling["modality"] + ":" + falling["class"], counts, strict=True)),
    )


def _every_class(falling: pd.DataFrame, said: str) -> list[Drawing]:
    """A row for each class with its name and number, by region, in pages of two columns."""
    shown = modality_looks(falling["modality"])
    most = int(falling["annotations"].max())
    columns = _columns(falling)
    parts = [columns[at : at + 2] for at in range(0, len(columns), 2)]
    drawings = []
    for number, part in enumerate(parts, 1):
        height = max(map(len, part))
        figure, panels = canvas(
            "double" if len(part) > 1 else "middle", 24 + ROW_MM * height, columns=len(part),
            squeeze=False,
        )  # fmt: skip
        data: dict[str, int] = {}
        for axes, column in zip(panels[0], part, strict=True):
            data |= _draw_column(axes, column, shown, most)
            # A shorter column has rows as high as those beside it.
            axes.set_ylim(height - 0.4, -0.6)
        _legend(figure, shown)
        of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        drawings.append(
            Drawing(
                name=f"collection_by_class_{number}",
                title=f"Annotations of every class{of}",
                caption=f"Classes by region, in each the most annotated first. {said}",
                figure=figure,
                data=data,
            )
        )
    return drawings


def _columns(falling: pd.DataFrame) -> list[list[Line]]:
    """Classes in columns of `ROWS` lines; a region begins with its name, also in the next one."""
    columns: list[list[Line]] = [[]]
    for region in REGION_ORDER:
        rows: Any = falling[falling["region"] == region]
        head = region_title(region)
        for at, row in enumerate(rows.itertuples(index=False, name=None)):
            if len(columns[-1]) + (at == 0) >= ROWS:
                columns.append([])
            if at == 0 or not columns[-1]:
                columns[-1].append((head + ", continued" * (at > 0), None))
            columns[-1].append(("", dict(zip(rows.columns, row, strict=True))))
    return columns


def _draw_column(
    axes: Any, column: list[Line], shown: dict[str, Look], most: int
) -> dict[str, int]:
    data: dict[str, int] = {}
    names = []
    for y, (head, row) in enumerate(column):
        if row is None:
            names.append(head)
            continue
        n, modality = int(row["annotations"]), str(row["modality"])
        axes.barh(y, n, 0.75, **_plain(shown[modality]))
        axes.text(n, y, f" {n:,}", va="center", fontsize=5)
        names.append(_name(str(row["class"]), modality))
        data[f"{modality}:{row['class']}"] = n
    # Room for the number behind the longest bar.
    axes.set_xlim(0.8, 6 * most)
    log_axis(axes)
    axes.set_yticks(range(len(names)), names, fontsize=5.5)
    for text, (head, _) in zip(axes.get_yticklabels(), column, strict=True):
        if head:
            text.set_fontweight("bold")
    axes.set_xlabel("annotations (masks)")
    axes.grid(visible=True, axis="x")
    return data


def _plain(look: Look) -> dict[str, Any]:
    """Of a bar too thin for a hatch and an edge."""
    return {"color": look.colour, "linewidth": 0}


def _name(name: str, modality: str, most: int = 44) -> str:
    return f"{label(name, most)} ({modality_title(modality)})"


def _legend(figure: Any, shown: dict[str, Look]) -> None:
    entries = [(modality_title(m), Look(k.colour, "", "o"), False) for m, k in shown.items()]
    legend(figure, entries, "bar")
