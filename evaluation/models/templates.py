"""Write a model card for a user to fill in."""

from __future__ import annotations

from pathlib import Path

from evaluation.errors import BenchError
from evaluation.files.records import require_id
from evaluation.files.writing import write_text
from evaluation.models.card import USER_CARD_FOLDER, ModelId, model_ids

TEMPLATE = """\
id: "{name}"
title: "{name}"
description: One sentence on what the model is.
citation: Authors, title, venue, year
licence: of the weights
# Number of weights, or leave it out.
# parameters: 31000000
# Dataset ids that it was trained on, `STUDY/DATASET` for the training side of a study's split,
# `run` for this run's training splits (contamination column).
trained_on: []
test_time_augmentation: none

# How to ask it: keep one of the three.

# 1. Predictions made elsewhere: <folder>/<dataset>/<case>.nii.gz with the values below,
#    or, without `labels`, one mask for each class: <folder>/<dataset>/<case>/<class>.nii.gz.
#    A mask holds 0 and one other value, and is there, empty, where its class is absent.
#    `satbench new model` never asks for code; case ids and grids are those of results/<run>/cases.
adapter:
  kind: prediction-folder
  folder: "predictions/{name}"
  labels:
    msd_hippocampus: {{anterior hippocampus: 1, posterior hippocampus: 2}}

# 2. A program: reads <input>/<case>.nii.gz and <input>/request.json, fills <output>.
# adapter:
#   kind: command
#   command: [python, my_model.py, "{{input}}", "{{output}}"]
#   labels: {{msd_hippocampus: {{anterior hippocampus: 1, posterior hippocampus: 2}}}}

# 3. A Python object, called with a ModelContext (evaluation/models/protocol.py).
# adapter:
#   kind: python
#   object: my_package.my_module:MyModel
"""


def free_model_card(name: str, folder: Path = USER_CARD_FOLDER) -> Path:
    """Where a new card of this name goes, `<folder>/<name>.yaml`.

    Raises:
        BenchError: the name is no model id, or it is taken.
    """
    require_id(name, ModelId, "model", "-_.")
    path = folder / f"{name}.yaml"
    if path.exists() or name in model_ids():
        raise BenchError(f"there is a model `{name}` already", file=path, hint="choose another id")
    return path


def write_model_card(name: str, folder: Path = USER_CARD_FOLDER) -> Path:
    """Write a template; an existing card is never overwritten.

    Raises:
        BenchError: see `free_model_card`.
    """
    path = free_model_card(name, folder)
    write_text(path, TEMPLATE.format(name=name))
    return path
