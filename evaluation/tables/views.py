"""Which scans and patients belong together across entries, and what `clean` leaves out.

Entries of the collection re-use each other's scans. A patient who appears in two entries is one
unit for the statistics, and a test scan whose twin lies in a training split is left out of the
view `clean`. Both come from the leakage audit (`tables/audit.parquet`) and from overlaps that
the dataset cards declare: there, equal patient ids in the two entries are taken for the same
person, unless they are bare numbers, which say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

Patient = tuple[str, str]
"""Entry id and patient id within it."""


@dataclass(frozen=True)
class Links:
    """Links between the scans of a run.

    Args:
        person: (entry, patient) -> a name shared by all entries in which this patient appears.
            Patients that are linked to nobody are not listed.
        leaked: (entry, case) of test scans that are linked to a training scan.
        note: what `clean` rests on, in words.
    """

    person: Mapping[Patient, str]
    leaked: frozenset[tuple[str, str]]
    note: str

    def name(self, dataset: str, patient: str) -> str:
        """Name of a patient, the same in every entry."""
        return self.person.get((dataset, patient), f"{dataset}/{patient}")


def find_links(
    splits: Mapping[str, pd.DataFrame],
    audit: pd.DataFrame | None,
    declared: Iterable[tuple[str, str]] = (),
) -> Links:
    """Link patients and find leaked test cases.

    Args:
        splits: by entry, a frame with `case`, `patient`, `split`.
        audit: the audit table, or None if there is none.
        declared: pairs of entries that share scans by their cards.
    """
    pairs: list[tuple[Patient, Patient]] = []
    leaked: set[tuple[str, str]] = set()
    if audit is not None:
        accepted = audit[audit["accepted"]]
        sides = ("dataset", "patient", "case", "split")
        ones = accepted[list(sides)].astype(str).to_numpy().tolist()
        others = accepted[[f"other_{side}" for side in sides]].astype(str).to_numpy().tolist()
        for one, other in zip(ones, others, strict=True):
            pairs.append(((one[0], one[1]), (other[0], other[1])))
            for this, that in ((one, other), (other, one)):
                if this[3] == "test" and that[3] == "train":
                    leaked.add((this[0], this[2]))
    used = []
    for a, b in sorted({(min(p), max(p)) for p in declared}):
        if a not in splits or b not in splits:
            continue
        used.append(f"{a}-{b}")
        common = {
            patient
            for patient in set(splits[a]["patient"]) & set(splits[b]["patient"])
            if not patient.isdecimal()
        }
        pairs += [((a, patient), (b, patient)) for patient in sorted(common)]
        for here, there in ((a, b), (b, a)):
            trained = common & set(splits[there].loc[splits[there]["split"] == "train", "patient"])
            test = splits[here][splits[here]["split"] == "test"]
            leaked |= {(here, case) for case in test.loc[test["patient"].isin(trained), "case"]}
    sources = (["the leakage audit"] if audit is not None else []) + (
        [f"declared overlaps with equal patient ids ({', '.join(used)})"] if used else []
    )
    note = (
        f"clean: {len(leaked)} test cases left out by " + " and ".join(sources)
        if sources
        else "clean equals paper: no audit table and no declared overlap between entries here"
    )
    return Links(_groups(pairs), frozenset(leaked), note)


def _groups(pairs: Iterable[tuple[Patient, Patient]]) -> dict[Patient, str]:
    """Connected components; each is named after its alphabetically first member."""
    root: dict[Patient, Patient] = {}

    def find(member: Patient) -> Patient:
        while (above := root.setdefault(member, member)) != member:
            root[member] = root[above]
            member = above
        return member

    for a, b in pairs:
        first, second = sorted((find(a), find(b)))
        root[second] = first
    return {member: "/".join(find(member)) for member in list(root)}
