"""A run as the renderers see it: its tables, measures, published numbers, cases, captions."""
