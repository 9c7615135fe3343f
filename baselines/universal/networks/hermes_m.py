"""Hermes-M: task and modality priors on MedFormer (the document's equation 4).

MedFormer's blocks already let voxels and tokens look at each other by one matrix of scores. The
priors of a level are appended to its semantic map, pass the same blocks, and are split off again
as posteriors: besides the tables and heads nothing is added but the weights of the token norms.
Each stage starts from priors of its own; only the map goes on to map fusion and decoder.
"""

from __future__ import annotations

from baselines.universal.networks.hermes import Hermes
from baselines.universal.networks.medformer import MedFormerBody
from baselines.universal.networks.priors import PriorSizes
from baselines.universal.networks.sizes import MedFormerSizes


def hermes_m(sizes: PriorSizes, body: MedFormerSizes | None = None) -> Hermes:
    """Hermes on MedFormer, with a second mask head on the 4x decoder for the training.

    Both heads' losses count half in the published training.
    """
    return Hermes(MedFormerBody(body or MedFormerSizes(), with_priors=True), sizes, auxiliary=True)
