"""A study: the entries, splits, protocol and published numbers of one comparison, as data."""
