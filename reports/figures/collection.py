"""Statistics of the collection (the manner of Figs. 4 and 7), from the dataset cards alone."""

from __future__ import annotations

from collections import Counter

import numpy as np

from evaluation.classes.modality import MODALITY_TITLES, Modality
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.splits import split_rule
from reports.figures.parts import Drawing, legend, log_axis, whole_numbers
from reports.figures.style import COLOURS, INK, Look, canvas
from reports.source import RunSource
from reports.tables.parts import REGION_ORDER, count, region_title

MODALITY_LOOKS: dict[Modality, Look] = {
    "ct": Look(COLOURS[0], "", "o"),
    "mri": Look(COLOURS[1], "////", "s"),
    "pet": Look(COLOURS[2], "....", "^"),
}


def collection_figures(source: RunSource) -> list[Drawing]:
    """Scans by entry and classes by region, from the cards of the run's entries."""
    cards = list(source.dataset_cards.values())
    return [_scans(source, cards), _classes(source)] if cards else []


def annotations_figure(source: RunSource) -> Drawing | None:
    """Annotations by region and modality, and by class in falling order (a long tail).

    Needs the counts of the run's cases in `collection/`.
    """
    regions, classes = source.collection("regions"), source.collection("classes")
    if regions is None or classes is None or classes.empty:
        return None
    regions = regions.reset_index()
    classes = classes.reset_index().sort_values("annotations", ascending=False, kind="stable")
    shown = [r for r in REGION_ORDER if r in set(regions["region"])]
    figure, (left, right) = canvas("double", 70, columns=2, width_ratios=(3, 2))
    data: dict[str, int] = {}
    looks = _looks_of(set(classes["modality"]))
    step = 0.8 / len(looks)
    for index, (modality, look) in enumerate(looks.items()):
        part = regions[regions["modality"] == modality].set_index("region")["annotations"]
        heights = [int(part.get(r, 0)) for r in shown]
        at = np.arange(len(shown)) + (index - (len(looks) - 1) / 2) * step
        left.bar(
            at, heights, 0.95 * step, facecolor=look.colour, hatch=look.hatch, edgecolor=INK,
            linewidth=0.5,
        )  # fmt: skip
        for x, height, region in zip(at, heights, shown, strict=True):
            if height:
                left.text(x, height, f"{height:,}", ha="center", va="bottom", fontsize=5.5)
                data[f"{region}:{modality}"] = height
        of_class = classes[classes["modality"] == modality]["annotations"].to_numpy()
        right.plot(
            np.arange(1, len(of_class) + 1), of_class, color=look.colour, marker=look.marker,
            markersize=2.5, linewidth=0.8,
        )  # fmt: skip
    left.set_xticks(
        range(len(shown)), [region_title(r, short=True) for r in shown], rotation=30, ha="right"
    )
    left.set_ylabel("annotations (masks)")
    left.margins(y=0.12)
    left.grid(visible=True, axis="y")
    log_axis(right, "y")
    right.set_xlabel("classes by number of annotations")
    right.set_ylabel("annotations")
    right.grid(visible=True, axis="y")
    entries: dict[str, tuple[str, Look, bool]] = {
        m: (MODALITY_TITLES[m], look, False) for m, look in looks.items()
    }
    legend(figure, entries, "bar")
    return Drawing(
        name="collection_annotations",
        title="Annotations",
        caption=f"{int(classes['annotations'].sum()):,} masks with at least one voxel in the run's "
        f"scans, {len(classes)} classes by (modality, name); generated classes included.",
        figure=figure,
        data=dict(data),
    )


def _scans(source: RunSource, cards: list[DatasetCard]) -> Drawing:
    """Scans of each entry, training and test."""
    cards = sorted(cards, key=lambda c: (c.modality, -c.expected_cases, c.id))
    figure, axes = canvas("middle", 22 + 4.6 * len(cards))
    data: dict[str, tuple[int, int]] = {}
    for y, card in enumerate(cards):
        look = MODALITY_LOOKS[card.modality]
        rule = split_rule(card, source.study)
        train, test = rule.train, rule.test
        axes.barh(y, train, 0.7, facecolor=look.colour, edgecolor=INK, linewidth=0.5)
        axes.barh(
            y, test, 0.7, left=train, facecolor="white", hatch="////", edgecolor=INK, linewidth=0.5
        )
        axes.text(train + test, y, f" {train + test:,}", va="center", fontsize=6)
        data[card.id] = (train, test)
    axes.set_yticks(range(len(cards)), [_entry(c) for c in cards])
    axes.set_ylim(len(cards) - 0.4, -0.6)
    axes.set_xlabel("scans")
    axes.margins(x=0.12)
    axes.grid(visible=True, axis="x")
    used = {c.modality for c in cards}
    entries: dict[str, tuple[str, Look, bool]] = {
        m: (f"training, {MODALITY_TITLES[m]}", Look(MODALITY_LOOKS[m].colour, "", "o"), False)
        for m in MODALITY_LOOKS
        if m in used
    }
    entries["test"] = ("test", Look("#FFFFFF", "////", "o"), False)
    legend(figure, entries, "bar")
    total = sum(sum(v) for v in data.values())
    return Drawing(
        name="collection_scans",
        title="Scans of each dataset",
        caption=f"{total:,} scans of {count(len(cards), 'entry', 'entries')}, training and test by "
        "the datasets' cards, not this run's scans.",
        figure=figure,
        data=dict(data),
    )


def _classes(source: RunSource) -> Drawing:
    """Classes by region and modality, and how many entries share a class."""
    places: Counter[tuple[str, str]] = Counter()
    for card in source.dataset_cards.values():
        for entry in card.classes:
            places.update((modality, entry.name) for modality in card.modalities)
    regions: Counter[tuple[str, str]] = Counter()
    for modality, name in places:
        regions[source.region_of(modality, name), modality] += 1
    shown = [r for r in REGION_ORDER if any(k[0] == r for k in regions)]
    figure, (left, right) = canvas("double", 70, columns=2, width_ratios=(3, 2))
    looks = _looks_of({modality for modality, _ in places})
    step = 0.8 / len(looks)
    for index, (modality, look) in enumerate(looks.items()):
        heights = [regions[r, modality] for r in shown]
        at = np.arange(len(shown)) + (index - (len(looks) - 1) / 2) * step
        left.bar(
            at, heights, 0.95 * step, facecolor=look.colour, hatch=look.hatch, edgecolor=INK,
            linewidth=0.5,
        )  # fmt: skip
        for x, height in zip(at, heights, strict=True):
            if height:
                left.text(x, height, str(height), ha="center", va="bottom", fontsize=6)
    left.set_xticks(
        range(len(shown)), [region_title(r, short=True) for r in shown], rotation=30, ha="right"
    )
    left.set_ylabel("classes")
    left.margins(y=0.12)
    left.grid(visible=True, axis="y")
    spread = Counter(places.values())
    counts = sorted(spread)
    right.bar(
        range(len(counts)),
        [spread[c] for c in counts],
        0.7,
        facecolor=COLOURS[2],
        edgecolor=INK,
        linewidth=0.5,
    )
    for x, shared in enumerate(counts):
        right.text(x, spread[shared], str(spread[shared]), ha="center", va="bottom", fontsize=6)
    right.set_xticks(range(len(counts)), [str(c) for c in counts])
    right.set_xlabel("entries that have the class")
    right.set_ylabel("classes")
    whole_numbers(left)
    whole_numbers(right)
    right.margins(y=0.12)
    right.grid(visible=True, axis="y")
    entries: dict[str, tuple[str, Look, bool]] = {
        m: (MODALITY_TITLES[m], look, False) for m, look in looks.items()
    }
    legend(figure, entries, "bar")
    names = {name for _, name in places}
    return Drawing(
        name="collection_classes",
        title="Classes by region",
        caption=f"{len(places)} classes by (modality, name), {len(names)} distinct names, assigned "
        "to regions by anatomy; by the datasets' cards, not this run's scans.",
        figure=figure,
        data={f"{r}:{m}": n for (r, m), n in regions.items()},
    )


def _looks_of(modalities: set[str]) -> dict[Modality, Look]:
    """How the modalities that are there are drawn, side by side."""
    return {m: look for m, look in MODALITY_LOOKS.items() if m in modalities}


def _entry(card: DatasetCard) -> str:
    word = MODALITY_TITLES[card.modality]
    return card.title if word in card.title.split("(")[-1] else f"{card.title} ({word})"
