"""What the cards of a run's entries hold: scans by entry, classes by region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from evaluation.classes.modality import MODALITIES
from evaluation.datasets.card import DatasetCard
from reports.figures.choice import label
from reports.figures.drawing import Drawing, legend, offsets, whole_numbers
from reports.layout.style import COLOURS, Look, canvas, looks
from reports.source.run import RunSource
from reports.source.words import REGION_ORDER, count, modality_title, region_title

_TEST = Look("#FFFFFF", "////", "o")


def collection_figures(source: RunSource) -> list[Drawing]:
    """Scans by entry and classes by region, from the cards of the run's entries."""
    return [_scans(source), _classes(source)] if source.dataset_cards else []


def _scans(source: RunSource) -> Drawing:
    """Scans of each entry, training (with those for validation) and test."""
    cards = sorted(
        source.dataset_cards.values(), key=lambda c: (c.modality, -c.expected_cases, c.id)
    )
    shown = modality_looks(card.modality for card in cards)
    figure, axes = canvas("middle", 22 + 4.6 * len(cards))
    data: dict[str, tuple[int, int]] = {}
    for y, card in enumerate(cards):
        split = source.split_of(card)
        train = split.train + split.validation
        for start, n, look in (
            (0, train, Look(shown[card.modality].colour, "", "o")),
            (train, split.test, _TEST),
        ):
            axes.barh(y, n, 0.7, left=start, **look.bar())
        total = train + split.test
        axes.text(total, y, f" {total:,}", va="center", fontsize=6)
        data[card.id] = (train, split.test)
    axes.set_yticks(range(len(cards)), [_entry(c) for c in cards])
    axes.set_ylim(len(cards) - 0.4, -0.6)
    axes.set_xlabel("scans")
    axes.margins(x=0.12)
    axes.grid(visible=True, axis="x")
    entries = [
        (f"training, {modality_title(m)}", Look(look.colour, "", "o"), False)
        for m, look in shown.items()
    ]
    legend(figure, [*entries, ("test", _TEST, False)], "bar")
    return Drawing(
        name="collection_scans",
        title="Scans of each dataset",
        caption=f"{sum(map(sum, data.values())):,} scans of "
        f"{count(len(cards), 'entry', 'entries')}, training and test by "
        "the datasets' cards, not this run's scans.",
        figure=figure,
        data=dict(data),
    )


def _classes(source: RunSource) -> Drawing:
    """Classes by region and modality, and how many entries share a class."""
    places = Counter[tuple[str, str]](
        (modality, entry.name)
        for card in source.dataset_cards.values()
        for entry in card.classes
        for modality in card.modalities
    )
    regions = Counter((source.region_of(*key), key[0]) for key in places)
    shown = modality_looks(modality for modality, _ in places)
    figure, (left, right) = canvas("double", 70, columns=2, width_ratios=(3, 2))
    bars_by_region(left, regions, shown, "classes")
    spread = Counter(places.values())
    counts = sorted(spread)
    right.bar(
        range(len(counts)), [spread[c] for c in counts], 0.7, **Look(COLOURS[2], "", "o").bar()
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
    legend(figure, [(modality_title(m), look, False) for m, look in shown.items()], "bar")
    names = {name for _, name in places}
    return Drawing(
        name="collection_classes",
        title="Classes by region",
        caption=f"{len(places)} classes by (modality, name), {len(names)} distinct names, assigned "
        "to regions by anatomy; by the datasets' cards, not this run's scans.",
        figure=figure,
        data={f"{r}:{m}": n for (r, m), n in regions.items()},
    )


def modality_looks(modalities: Iterable[str]) -> dict[str, Look]:
    """Looks of the modalities that occur, each always with its own."""
    found = set(modalities)
    return {m: look for m, look in looks(MODALITIES).items() if m in found}


def bars_by_region(
    axes: Any, counted: Mapping[tuple[str, str], int], shown: Mapping[str, Look], label: str
) -> None:
    """Bars of (region, modality), one beside the other in each region."""
    regions = [r for r in REGION_ORDER if any(k[0] == r for k in counted)]
    width = 0.8 / len(shown)
    # Numbers of four digits side by side would run into each other.
    turn = 90 if max(counted.values(), default=0) >= 1000 else 0
    for (modality, look), shift in zip(
        shown.items(), offsets(len(shown), (0.8 - width) / 2), strict=True
    ):
        for x, region in enumerate(regions):
            height = counted.get((region, modality), 0)
            axes.bar(x + shift, height, 0.95 * width, **look.bar())
            if height:
                axes.text(
                    x + shift, height, f"{' ' * (turn > 0)}{height:,}", rotation=turn,
                    ha="center", va="bottom", fontsize=5.5,
                )  # fmt: skip
    axes.set_xticks(
        range(len(regions)), [region_title(r, short=True) for r in regions], rotation=30, ha="right"
    )
    axes.set_ylabel(label)
    axes.margins(y=0.2 if turn else 0.12)
    axes.grid(visible=True, axis="y")


def _entry(card: DatasetCard) -> str:
    word = modality_title(card.modality)
    title = label(card.title)
    return title if word in card.title.split("(")[-1] else f"{title} ({word})"
