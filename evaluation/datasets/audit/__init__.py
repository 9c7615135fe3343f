"""The leakage audit (calibration follows)."""
