"""The benchmark itself: datasets, classes, cases, metrics, aggregation, statistics, ranking.

This is the ground floor. It imports neither `sat` nor `baselines` nor `reports`, and importing it
loads neither torch nor nnU-Net.
"""

__version__ = "0.13.0"
