"""Specialist and universal models that the benchmark compares with: nnU-Net v2."""
