"""Training: the prepared store, samples, the loop on one process or many."""
