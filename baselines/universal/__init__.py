"""Universal systems: one network for all entries of a run."""
