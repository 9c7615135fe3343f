"""Datasets: cards, readers, standardised cases, splits, and a virtual cohort."""
