"""Write a dataset card for a user to fill in."""

from __future__ import annotations

from pathlib import Path

from evaluation.datasets.card import Slug
from evaluation.datasets.registry import USER_CARD_FOLDER, owner_of
from evaluation.errors import BenchError
from evaluation.files.records import require_id
from evaluation.files.writing import write_text

TEMPLATE = """\
# Fill in what is yours; `satbench datasets {name}` says what is wrong with it.
id: "{name}"
title: "{title}"
modality: ct # mri, pet
# sequence: T1 # of all scans, or by the names of the cases:
# case_patterns: [{{cases: "_t2$", sequence: T2}}]
regions: [abdomen] # abdomen, brain, head and neck, lower limb, pelvis, spine, thorax, upper limb
description: One sentence on what is annotated in which scans.
licence: {{name: name of the licence, verified: false}}
access: open # registration, agreement, unavailable
source:
  name: where it is published
  where: DOI or record number
  steps: what to download, and how it lies under raw_root/{title}
citation: Authors, title, venue, year

# The files under raw_root. A layout that exists needs no Python: `satbench datasets --readers`.
# {{case}} stands for a part of a name, and names the case; what it may be can be a regular
# expression under `names`. `*` is any other text within one name: "*/{{case}}/T1*.nii.gz".
folder: "{title}"
layout: images/CASE.nii.gz, labels/CASE.nii.gz
reader: paired
reader_args:
  # names: {{case: 'knee_[0-9]+'}}
  scans:
    - image: "images/{{case}}.nii.gz"
      label: "labels/{{case}}.nii.gz"

# Each class has `values` of the label map, a mask's `file` name, or `union_of` other classes.
# Classes may overlap. `satbench classes` lists the benchmark's own names, which have a region;
# any other class is in the only one of `regions` above, or in the one that it names
# (`region: thorax`, `region: lesion`); without either it counts for its dataset and class alone.
classes:
  - {{name: liver, values: [1, 2]}}
  - {{name: liver tumor, values: [2]}}
# Values that are neither a class nor an error.
ignore_values: []

# The first group of this pattern, applied to the case, is the patient.
patient_pattern: "^(.*)$"
# `seeded` draws patients until these counts of cases hold. For a split of your own,
# `rule: official` and a file {name}.csv beside this card with the columns case,patient,split
# (train or test). A study may have a rule of its own for it: `splits: {{STUDY: {{...}}}}`.
split: {{train: 80, test: 20, rule: seeded}}
expected_cases: 100
expected_patients: 100
# `overlaps` is of scans, not of classes: those shared with another dataset, or twice in this one,
# by case or patient ids: `linked` pairs are one person, `not_linked` are not, whatever `satbench
# data audit` found (`all`: none is).
# overlaps: [{{dataset: OTHER, relation: WHY, verified: true, linked: [[MINE, THEIRS]]}}]
# Which nnU-Nets to train on it: here one, for all classes.
specialists:
  - {{id: "{name}"}}
"""


def write_dataset_card(name: str, folder: Path = USER_CARD_FOLDER) -> Path:
    """Write `<folder>/<name>.yaml`; an existing card is never overwritten.

    Raises:
        BenchError: the name is no dataset id, or it is taken.
    """
    require_id(name, Slug, "dataset", "_")
    path = folder / f"{name}.yaml"
    if path.exists():
        raise BenchError(f"there is a card `{name}` already", file=path, hint="choose another id")
    if owner := owner_of(name):
        raise BenchError(
            f"the name `{name}` belongs to a dataset already",
            found=f"it leads to `{owner.id}`",
            hint="choose another id",
        )
    title = name.replace("_", " ").title().replace(" ", "_")
    write_text(path, TEMPLATE.format(name=name, title=title))
    return path
