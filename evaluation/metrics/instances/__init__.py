"""Lesions counted as lesions: components, how they are matched, and what challenges compute."""
