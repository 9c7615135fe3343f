"""Weights that the authors released, as one checkpoint of ours."""
