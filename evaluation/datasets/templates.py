"""Write a dataset card for a user to fill in."""

from __future__ import annotations

from pathlib import Path

from evaluation.datasets.registry import CARD_FOLDER, load_cards
from evaluation.errors import BenchError
from evaluation.files import write_text

TEMPLATE = """\
id: {name}
title: {title}
spellings: []
modality: ct # or mri
regions: [abdomen]
description: One sentence on what is annotated in which scans.
licence: {{name: name of the licence, verified: false}}
access: open # registration, agreement, unavailable
source:
  name: where it is published
  where: DOI or record number
  steps: what to download, and how it lies under raw_root/{title}
citation: Authors, title, venue, year
folder: {title}
layout: images/CASE.nii.gz, labels/CASE.nii.gz
# A layout that exists already needs no Python; `satbench datasets --readers` lists them.
reader: paired
reader_args:
  scans:
    - image: "images/{{case}}.nii.gz"
      label: "labels/{{case}}.nii.gz"
# Exactly one of values, file and union_of for each class.
classes:
  - {{name: liver, values: [1, 2]}}
  - {{name: liver tumor, values: [2]}}
# First group of this pattern, applied to the case id, is the patient.
patient_pattern: "^(.*)$"
split: {{train: 80, test: 20, rule: seeded}}
expected_cases: 100
expected_patients: 100
specialists:
  - {{id: {name}}}
unverified: []
"""


def write_dataset_card(name: str, folder: Path = CARD_FOLDER) -> Path:
    """Write `<folder>/<name>.yaml`; an existing card is never overwritten."""
    path = folder / f"{name}.yaml"
    if path.exists():
        raise BenchError(f"there is a card `{name}` already", file=path, hint="choose another id")
    write_text(
        path, TEMPLATE.format(name=name, title=name.replace("_", " ").title().replace(" ", "_"))
    )
    load_cards.cache_clear()
    return path
