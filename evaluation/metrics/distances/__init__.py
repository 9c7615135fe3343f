"""Distances between surfaces, exactly: every class of a pair, in a definition that has a name."""
