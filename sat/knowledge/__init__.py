"""Medical knowledge put into the text encoder before any scan is seen (paper, section 4.1)."""
