"""What a network of the universal systems knows of its entries: tasks, labels and modalities.

A class of an entry is a task. Its row, counted through all entries, is the number by which the
training engine speaks of it. With exclusive labels the rows are those of the labels. Only annotated
classes are trained; a generated class is a union of them, by look-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from evaluation.classes.entry import ClassEntry
from evaluation.classes.leaves import Leaf, leaves_of, places_of
from evaluation.classes.modality import Modality
from evaluation.classes.regions import LESION, region_of
from evaluation.datasets.card import DatasetCard
from evaluation.datasets.regions import class_regions
from evaluation.datasets.registry import find_card
from evaluation.files.records import Record

UNKNOWN = -1  # modality: the table's last row


class Label(Record):
    """A `Leaf` as plain values, and whether it is of a lesion."""

    value: int
    name: str
    owner: str
    classes: tuple[str, ...]
    lesion: bool = False

    @property
    def leaf(self) -> Leaf:
        """What the engine takes."""
        return Leaf(self.value, self.name, self.owner, frozenset(self.classes))


class Entry(Record):
    """One entry of a training.

    Attributes:
        dataset: its id.
        kind: modality of its card.
        classes: the classes that are trained.
        tokens: for each class the row of its task token; two entries may share rows.
        modality: row of the modality tables, of scans whose sequence has none of its own.
        sequences: row of each sequence that its scans have.
        labels: exclusive labels of the classes, without the background.
    """

    dataset: str
    kind: Modality
    classes: tuple[str, ...]
    tokens: tuple[int, ...]
    modality: int = UNKNOWN
    sequences: dict[str, int] = Field(default={})
    labels: tuple[Label, ...] = ()

    def modality_of(self, sequence: str | None) -> int:
        """The row of a scan, by its sequence."""
        return self.sequences.get(sequence or "", self.modality)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The labels as the engine takes them."""
        return tuple(label.leaf for label in self.labels)

    @property
    def places(self) -> dict[str, tuple[int, ...]]:
        """For each class the labels whose union it is."""
        return places_of(self.leaves, self.classes)


class Catalogue(Record):
    """All entries of a network.

    Attributes:
        entries: in the order of their rows.
        n_tokens: rows of the task tables, the null token (last) included.
        modalities: names of the rows of the modality tables but the last, which is the unknown one.
        prompts: modality and class of each vector of the CLIP-driven system.
        text_width: length of its vectors of text; none: learnt.
    """

    entries: tuple[Entry, ...]
    n_tokens: int = Field(ge=1)
    modalities: tuple[str, ...] = ()
    prompts: tuple[tuple[str, str], ...] = ()
    text_width: int | None = None

    def of(self, dataset: str) -> Entry | None:
        """An entry by its id, if it is known."""
        return next((entry for entry in self.entries if entry.dataset == dataset), None)

    def rows(self) -> Iterator[tuple[Entry, str, int]]:
        """Entry, class and row of every task."""
        row = 0
        for entry in self.entries:
            for name in entry.classes:
                yield entry, name, row
                row += 1


def catalogue(
    classes: Mapping[str, Sequence[str]],
    shares: Mapping[str, str],
    sequences: Mapping[str, Sequence[str]] | None = None,
    called: Mapping[str, str] | None = None,
) -> Catalogue:
    """The catalogue of some entries.

    Args:
        classes: of each entry, those in the scope of the run; generated ones are left out, and an
            entry that then has none, too.
        shares: see `Preset`.
        sequences: of the scans of an entry, where they are known.
        called: sequence -> name of its modality; see `Preset.sequences`.
    """
    called = called or {}
    tokens: dict[tuple[str, str], int] = {}
    modalities: dict[str, int] = {}
    entries = []
    for dataset, scope in classes.items():
        card = find_card(dataset)
        found = [card.class_entry(name) for name in scope]
        annotated = [entry for entry in found if entry.kind == "annotated"]
        if not annotated:
            continue
        of = shares.get(dataset, dataset)
        names = tuple(entry.name for entry in annotated)
        for name in names:
            tokens.setdefault((of, name), len(tokens))
        # CT and PET are one modality each, an MR has one for every sequence.
        own = (sequences or {}).get(dataset, ()) if card.modality == "mri" else ()
        modality = modality_of(card, called)
        of_own = {name: called.get(name, name) for name in own}
        for name in filter(None, (modality, *of_own.values())):
            modalities.setdefault(name, len(modalities))
        entries.append(
            Entry(
                dataset=dataset,
                kind=card.modality,
                classes=names,
                tokens=tuple(tokens[of, name] for name in names),
                modality=UNKNOWN if modality is None else modalities[modality],
                sequences={name: modalities[of_own[name]] for name in own},
                labels=labels_of(annotated, card),
            )
        )
    pairs = {(e.kind, name): None for e in entries for name in e.classes}
    return Catalogue(
        entries=tuple(entries),
        n_tokens=len(tokens) + 1,
        modalities=tuple(modalities),
        prompts=tuple(pairs),
    )


def labels_of(annotated: Sequence[ClassEntry], card: DatasetCard) -> tuple[Label, ...]:
    """The exclusive labels of some annotated classes of an entry."""
    own = class_regions([card])
    return tuple(
        Label(
            value=leaf.value,
            name=leaf.name,
            owner=leaf.owner,
            classes=tuple(sorted(leaf.classes)),
            lesion=region_of(card.modality, leaf.owner, own=own) == LESION,
        )
        for leaf in leaves_of(annotated, card.id)
    )


def modality_of(card: DatasetCard, called: Mapping[str, str]) -> str | None:
    """The modality of an entry: CT, PET, or the sequence of an MR; None where its card names none.

    A sequence has the name that `called` gives it, or its own.

    An MR of which neither the card nor a scan says the sequence has the unknown modality, as AMOS
    MR in the published training.
    """
    if card.modality != "mri":
        return card.modality
    return None if card.sequence is None else called.get(card.sequence, card.sequence)
