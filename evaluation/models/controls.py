"""Controls that look at the reference: a perfect, an empty and a shifted answer.

They run like any model and prove the harness by its own table: `oracle` must score exactly 1
everywhere, `empty` exactly 0, and `shifted` what one voxel costs. The controls that learn
something trivial from the training cases are in `fitted_controls`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.cases import ImageCase, Prediction, read_case_record, read_reference
from evaluation.config import RunConfig
from evaluation.datasets.registry import find_card
from evaluation.datasets.scope import classes_in_scope
from evaluation.models.protocol import ModelContext
from evaluation.volumes.image_files import Array
from evaluation.volumes.segmentation import ClassPlace, Part, Segmentation

THROUGH_PARTS = "answered through its parts"


def control_classes(config: RunConfig, dataset: str) -> dict[str, str | None]:
    """All annotated classes in scope; generated ones follow from them as unions."""
    scope = classes_in_scope(find_card(dataset), config)
    return {c.name: None if c.kind == "annotated" else THROUGH_PARTS for c in scope}


class Oracle:
    """Answers with the reference itself.

    This module is the only place under `models/` that reads a test reference: a control of the
    harness has to know the truth, and cards give it the role `control`, so it is never ranked.
    """

    def __init__(self, context: ModelContext) -> None:
        self.context = context

    def classes(self, dataset: str) -> dict[str, str | None]:
        """See `control_classes`."""
        return control_classes(self.context.config, dataset)

    def made_from(self, case: ImageCase, _classes: Sequence[str]) -> object:
        """The reference, and what is done to it."""
        folder = self.context.paths.case(case.dataset, case.case)
        return [type(self).__name__, read_case_record(folder).labels]

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """The reference of the case; a class that it does not annotate is answered empty."""
        folder = self.context.paths.case(case.dataset, case.case)
        reference = read_reference(folder)[1]
        layers = tuple(self.change(layer) for layer in reference.layers)
        places = {
            name: ClassPlace(
                kind="direct",
                parts=reference.classes[name].parts if name in reference.classes else (),
            )
            for name in classes
        }
        return Prediction(Segmentation(layers, reference.affine, places))

    def change(self, layer: Array) -> Array:
        """What becomes of a layer (x, y, z) of the reference."""
        return layer


class Shifted(Oracle):
    """Answers with the reference, moved by one voxel along x (towards the patient's right)."""

    def change(self, layer: Array) -> Array:
        """The layer (x, y, z) one voxel further, background where nothing moves in."""
        moved = np.zeros_like(layer)
        moved[1:] = layer[:-1]
        return moved


class Empty:
    """Answers that nothing is there."""

    def __init__(self, context: ModelContext) -> None:
        self.context = context

    def classes(self, dataset: str) -> dict[str, str | None]:
        """See `control_classes`."""
        return control_classes(self.context.config, dataset)

    def predict(self, case: ImageCase, classes: Sequence[str]) -> Prediction:
        """One layer of zeros in which every class has a value that does not occur."""
        layer = np.zeros(case.shape, dtype=np.uint8)
        places = {
            name: ClassPlace(kind="direct", parts=(Part(layer=0, values=(1,)),)) for name in classes
        }
        return Prediction(Segmentation((layer,), case.image().affine, places))
