"""Tables of a run as LaTeX, Markdown, HTML and CSV."""
