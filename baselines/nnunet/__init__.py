"""nnU-Net v2 as the study has it: one specialist for each entry, five for TotalSegmentator."""
