"""Models that the benchmark compares with: nnU-Net v2 specialists and universal systems."""
