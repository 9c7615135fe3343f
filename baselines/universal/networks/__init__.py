"""The networks of the universal systems, each from its published description."""
