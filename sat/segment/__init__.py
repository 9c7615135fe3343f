"""`satbench segment`: one scan by text."""
