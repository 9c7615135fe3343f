"""What the tensors of the public MedFormer and Hermes-M are called in our modules."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RENAMED: Sequence[tuple[str, str]] = (
    (r"^inc\.conv1\.", "body.stem.0."),
    (r"^inc\.conv2\.", "body.stem.1."),
    (r"^down(\d)\.patch_merging\.reduction\.", r"body.merging.<\1-1>.reduction."),
    (r"^down1\.conv_blocks\.", "body.encoder_2x."),
    (r"^down(\d)\.map_gen\.base_proj\.", r"body.maps.<\1-2>.values."),
    (r"^down(\d)\.map_gen\.semantic_proj\.", r"body.maps.<\1-2>.scores."),
    (r"^down(\d)\.trans_blocks\.blocks\.", r"body.encoder.<\1-2>."),
    (r"^up(\d)\.trans_blocks\.blocks\.", r"body.decoder.<\1-1>."),
    (r"^up(\d)\.map_reduction\.", r"body.map_reduction.<\1-1>."),
    (r"^up3\.conv_blocks\.", "body.decoder_2x."),
    (r"^up4\.conv_blocks\.", "body.decoder_1x."),
    (r"^map_fusion\.in_proj\.", "body.map_fusion.project_in."),
    (r"^map_fusion\.out_proj\.", "body.map_fusion.project_out."),
    (r"^map_fusion\.fusion\.layers\.", "body.map_fusion.layers."),
    (r"(layers\.\d)\.0\.norm\.", r"\1.attention_norm."),
    (r"(layers\.\d)\.0\.fn\.to_qkv\.", r"\1.query_key_value."),
    (r"(layers\.\d)\.0\.fn\.to_out\.", r"\1.attention_out."),
    (r"(layers\.\d)\.1\.norm\.", r"\1.mlp.0."),
    (r"(layers\.\d)\.1\.fn\.fc1\.", r"\1.mlp.1."),
    (r"(layers\.\d)\.1\.fn\.fc2\.", r"\1.mlp.3."),
    (r"\.norm2\.", ".token_norm."),
    (r"\.attn\.feat_qv\.", ".attention.feature_in."),
    (r"\.attn\.feat_out\.", ".attention.feature_out."),
    (r"\.attn\.map_qv\.", ".attention.tokens_in."),
    (r"\.attn\.map_out\.", ".attention.tokens_out."),
    (r"\.feedforward\.expand_proj\.conv\.", ".feed_forward.expand.2."),
    (r"\.feedforward\.depthwise\.conv\.", ".feed_forward.depthwise.2."),
    (r"\.feedforward\.se\.excitation\.", ".feed_forward.squeeze.gate."),
    (r"\.feedforward\.pointwise\.conv\.", ".feed_forward.reduce."),
    (r"\.depthwise\.weight$", ".0.weight"),
    (r"\.pointwise\.weight$", ".1.weight"),
    (r"\.conv1\.conv\.", ".first.2."),
    (r"\.conv2\.conv\.", ".second.2."),
    (r"\.shortcut\.conv\.", ".shortcut.2."),
    (r"^aux_out\.", "auxiliary_output."),
    (r"^outc\.", "output."),
)


def medformer_name(key: str) -> str:
    """Our name of a tensor of the public MedFormer, or of the same body in Hermes-M."""
    for pattern, replacement in _RENAMED:
        key = re.sub(pattern, replacement, key)
    return re.sub(r"<(\d)-(\d)>", lambda m: str(int(m[1]) - int(m[2])), key)
