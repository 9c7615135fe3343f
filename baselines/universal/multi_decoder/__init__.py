"""Multi-decoder residual U-Net: one encoder for all entries, one decoder for each of them."""
