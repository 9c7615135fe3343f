"""Figures of a run as vector files, from its result tables."""
