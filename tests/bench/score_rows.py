"""Score rows drawn from a known truth, in the shape of the whole collection.

For benchmarks and for tests of the statistics: each entry has its number of test scans and its
classes from the cards, each patient and each class an effect of their own, and each model a true
mean on every class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.datasets.registry import CARD_FOLDER, load_cards
from evaluation.datasets.splits import split_rule
from evaluation.schema import SCORES
from evaluation.studies.record import find_study
from evaluation.tables.scores import Expected


@dataclass(frozen=True)
class SyntheticScores:
    """Rows, what was expected, and the true mean of every entry, class and model."""

    rows: pd.DataFrame
    expected: Expected
    truth: pd.DataFrame


def collection_shape(scale: float = 1.0) -> dict[str, tuple[str, int, dict[str, bool]]]:
    """Entries of the study `sat` -> modality, test scans (times `scale`), class -> annotated."""
    study = find_study("sat")
    return {
        card.id: (
            card.modality,
            max(1, round(split_rule(card, study).test * scale)),
            {entry.name: entry.kind == "annotated" for entry in card.classes},
        )
        for card in load_cards(CARD_FOLDER).values()
        if card.id in study.entries
    }


def synthetic_scores(
    models: Mapping[str, float],
    shape: Mapping[str, tuple[str, int, dict[str, bool]]] | None = None,
    *,
    seed: int = 0,
    absent: float = 0.1,
    patient_spread: float = 0.08,
    residual_spread: float = 0.04,
    scans_per_patient: int = 1,
) -> SyntheticScores:
    """Draw score rows.

    Args:
        models: model -> its true advantage, added to every class's true mean.
        shape: as from `collection_shape`.
        seed: of the draw.
        absent: share of class x scan pairs with an empty reference.
        patient_spread: standard deviation between patients, shared by their classes and scans.
        residual_spread: standard deviation of the rest, independent.
        scans_per_patient: consecutive scans that belong to one patient.
    """
    generator = np.random.default_rng(seed)
    shape = collection_shape() if shape is None else shape
    frames, truths, splits = [], [], {}
    for dataset, (modality, n_cases, classes) in shape.items():
        names = list(classes)
        n_slots, n_models = len(names), len(models)
        patient = np.arange(n_cases) // scans_per_patient
        base = generator.uniform(0.6, 0.8, n_slots)
        truth = base[:, None] + np.array(list(models.values()))
        # Models share a part of the patient's effect: hard scans are hard for all.
        n_patients = patient.max() + 1
        common = generator.normal(0, patient_spread, n_patients)[patient, None, None]
        own = generator.normal(0, patient_spread / 2, (n_patients, n_models))[patient, None, :]
        noise = generator.normal(0, residual_spread, (n_cases, n_slots, n_models))
        values = truth + common + own + noise
        empty = generator.random((n_cases, n_slots)) < absent
        empty[0] = False
        empty = np.repeat(empty[:, :, None], n_models, axis=2)
        case, slot, model = (i.ravel() for i in np.indices(values.shape))
        cases = np.array([f"case-{i:05d}" for i in range(n_cases)])
        people = np.array([f"patient-{i:05d}" for i in patient])
        kinds = ["annotated" if leaf else "union" for leaf in classes.values()]
        dsc = np.where(empty, np.nan, values).ravel()
        voxels = np.where(empty, 0, 1000).ravel()
        frames.append(
            pd.DataFrame(
                {
                    "model": pd.Categorical.from_codes(model, pd.Index(list(models))),
                    "dataset": dataset,
                    "case": pd.Categorical.from_codes(case, pd.Index(cases)),
                    "patient": people[case],
                    "modality": modality,
                    "class": pd.Categorical.from_codes(slot, pd.Index(names)),
                    "kind": np.array(kinds)[slot],
                    "status": np.where(empty.ravel(), "both_empty", "scored"),
                    "reason": "",
                    "dsc": dsc,
                    "nsd": dsc - 0.05,
                    "tolerance_mm": 1.0,
                    "space": "native",
                    "spacing_mm": "1x1x3",
                    "reference_voxels": voxels,
                    "prediction_voxels": voxels,
                    "intersection_voxels": voxels,
                    "surface_reference_total_mm2": np.nan,
                    "surface_reference_within_mm2": np.nan,
                    "surface_prediction_total_mm2": np.nan,
                    "surface_prediction_within_mm2": np.nan,
                    "implementation": "synthetic",
                    "version": "1",
                    "definition": "surface-element",
                    "field_mm": 500.0,
                }
            )[SCORES.names]
        )
        truths.append(
            pd.DataFrame(
                {
                    "dataset": dataset,
                    "class": np.repeat(names, n_models),
                    "model": list(models) * n_slots,
                    "dsc": truth.ravel(),
                }
            )
        )
        splits[dataset] = pd.DataFrame({"case": cases, "patient": people, "split": "test"})
    rows = pd.concat(frames, ignore_index=True)
    text = [c.name for c in SCORES.columns if c.type == "text"]
    expected = Expected(
        data_kind="synthetic",
        models=tuple(models),
        entries=tuple(shape),
        classes={dataset: classes for dataset, (_, _, classes) in shape.items()},
        modalities={dataset: (modality,) for dataset, (modality, _, _) in shape.items()},
        splits=splits,
    )
    return SyntheticScores(
        rows.astype(dict.fromkeys(text, "category")),
        expected,
        pd.concat(truths, ignore_index=True),
    )
