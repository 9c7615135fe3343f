"""What the public releases of MedFormer and Hermes-M call the tensors of our `MedFormerBody`."""

from __future__ import annotations

import re
from collections.abc import Callable


def _lower(prefix: str, first: int) -> Callable[[re.Match[str]], str]:
    """Stages are counted from `first` there and from 0 here."""
    return lambda match: f"{prefix}.{int(match[1]) - first}."


# Pattern of a released name and its replacement, in this order.
BODY_RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^inc\.conv1\.", "body.stem.0."),
    (r"^inc\.conv2\.", "body.stem.1."),
    (r"^down1\.conv_blocks\.", "body.encoder_2x."),
    (r"^down([1-4])\.patch_merging\.", _lower("body.merging", 1)),
    (r"^down([2-4])\.map_gen\.", _lower("body.maps", 2)),
    (r"^down([2-4])\.trans_blocks\.blocks\.", _lower("body.encoder", 2)),
    (r"^up([12])\.trans_blocks\.blocks\.", _lower("body.decoder", 1)),
    (r"^up([12])\.map_reduction\.", _lower("body.map_reduction", 1)),
    (r"^up3\.conv_blocks\.", "body.decoder_2x."),
    (r"^up4\.conv_blocks\.", "body.decoder_1x."),
    (r"\.base_proj\.", ".values."),
    (r"\.semantic_proj\.", ".scores."),
    (r"^map_fusion\.in_proj\.", "body.map_fusion.project_in."),
    (r"^map_fusion\.out_proj\.", "body.map_fusion.project_out."),
    (r"^map_fusion\.fusion\.", "body.map_fusion."),
    (r"\.fn\.to_qkv\.", ".query_key_value."),
    (r"\.fn\.to_out\.", ".out."),
    (r"\.fn\.fc", ".mlp.fc"),
    (r"\.norm2\.", ".token_norm."),
    (r"\.attn\.feat_qv\.", ".attention.feature_in."),
    (r"\.attn\.feat_out\.", ".attention.feature_out."),
    (r"\.attn\.map_qv\.", ".attention.tokens_in."),
    (r"\.attn\.map_out\.", ".attention.tokens_out."),
    (r"\.feedforward\.expand_proj\.", ".feed_forward.expand."),
    (r"\.feedforward\.depthwise\.", ".feed_forward.depthwise."),
    (r"\.feedforward\.se\.excitation\.", ".feed_forward.squeeze.gate."),
    (r"\.feedforward\.pointwise\.conv\.", ".feed_forward.reduce."),
    (r"\.depthwise\.weight$", ".0.weight"),
    (r"\.pointwise\.weight$", ".1.weight"),
)
# Hermes-M keeps the tables of a level within its stage, encoder 4x to 16x and then decoder 8x, 4x.
TABLE_RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = tuple(
    (rf"^{stage}\.prior_selection\.{theirs}_prior$", f"priors.{level}.{ours}")
    for level, stage in enumerate(("down2", "down3", "down4", "up1", "up2"))
    for theirs, ours in (("task", "tasks"), ("modality", "modalities"))
)
OUTPUT_RULES = ((r"^outc\.", "head."), (r"^aux_out\.", "auxiliary_head."))
