"""What every page, table and figure is set in: printed tables, LaTeX, templates, colours."""
