"""Two controls of the stress test, which look at the reference: they answer texts without reading.

`oracle-text` answers with what the words mean, and must pass every kind; `deaf` answers every text
with one mask, and must fail visibly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.cases import ImageCase, Prediction
from evaluation.datasets.registry import find_card
from evaluation.models.controls import Oracle
from evaluation.stress.running import scan_prompts
from evaluation.volumes.segmentation import pack_masks

ALL_CLASSES = 10_000


class TextOracle(Oracle):
    """Knows the run's prompts and what each means; any other text means the class of that name."""

    def predict_texts(self, case: ImageCase, texts: Sequence[str]) -> Prediction:
        """The reference of what each text means, empty for a text that means nothing."""
        entry, context = find_card(case.dataset), self.context
        _, reference, prompts = scan_prompts(
            context.paths, context.config, entry, case.case, ALL_CLASSES
        )
        meanings = {prompt.text: prompt.meaning for prompt in prompts}
        meanings |= {name: (name,) for name in reference.classes}
        masks = {}
        for text in texts:
            masks[text] = np.zeros(case.shape, dtype=bool)
            for name in meanings.get(text, ()):
                masks[text] |= reference.mask(name)
        return Prediction(pack_masks(masks, reference.affine, "direct"))


class Deaf(Oracle):
    """Answers every text with all that the reference shows, as a network without text would."""

    def predict_texts(self, case: ImageCase, texts: Sequence[str]) -> Prediction:
        """One mask, whatever is asked."""
        found = self.predict(case, list(self.classes(case.dataset))).segmentation
        everything = np.zeros(case.shape, dtype=bool)
        for layer in found.layers:
            everything |= layer > 0
        masks = dict.fromkeys(texts, everything)
        return Prediction(pack_masks(masks, found.affine, "direct"))
