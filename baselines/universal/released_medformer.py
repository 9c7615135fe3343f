"""What the public releases of MedFormer and Hermes-M call the tensors of our `MedFormerBody`."""

from __future__ import annotations

# A part of our name and what it is called there, replaced in this order.
BODY_RENAMES: tuple[tuple[str, str], ...] = (
    ("body.stem.0.", "inc.conv1."),
    ("body.stem.1.", "inc.conv2."),
    ("body.encoder_2x.", "down1.conv_blocks."),
    *((f"body.merging.{i}.", f"down{i + 1}.patch_merging.") for i in range(4)),
    *((f"body.maps.{i}.", f"down{i + 2}.map_gen.") for i in range(3)),
    *((f"body.encoder.{i}.", f"down{i + 2}.trans_blocks.blocks.") for i in range(3)),
    *((f"body.decoder.{i}.", f"up{i + 1}.trans_blocks.blocks.") for i in range(2)),
    *((f"body.map_reduction.{i}.", f"up{i + 1}.map_reduction.") for i in range(2)),
    ("body.decoder_2x.", "up3.conv_blocks."),
    ("body.decoder_1x.", "up4.conv_blocks."),
    ("body.map_fusion.project_in.", "map_fusion.in_proj."),
    ("body.map_fusion.project_out.", "map_fusion.out_proj."),
    ("body.map_fusion.", "map_fusion.fusion."),
    (".query_key_value.", ".fn.to_qkv."),
    (".out.", ".fn.to_out."),
    (".mlp.fc", ".fn.fc"),
    (".values.", ".base_proj."),
    (".scores.", ".semantic_proj."),
    (".token_norm.", ".norm2."),
    (".attention.feature_in.", ".attn.feat_qv."),
    (".attention.feature_out.", ".attn.feat_out."),
    (".attention.tokens_in.", ".attn.map_qv."),
    (".attention.tokens_out.", ".attn.map_out."),
    (".feed_forward.expand.", ".feedforward.expand_proj."),
    (".feed_forward.depthwise.", ".feedforward.depthwise."),
    (".feed_forward.squeeze.gate.", ".feedforward.se.excitation."),
    (".feed_forward.reduce.", ".feedforward.pointwise.conv."),
    *((f".{name}.0.", f".{name}.depthwise.") for name in ("reduction", "feat_qv", "feat_out")),
    *((f".{name}.1.", f".{name}.pointwise.") for name in ("reduction", "feat_qv", "feat_out")),
)
# Where Hermes-M keeps the token tables of encoder 4x, 8x, 16x, decoder 8x, 4x.
TABLES = tuple(f"{stage}.prior_selection" for stage in ("down2", "down3", "down4", "up1", "up2"))
