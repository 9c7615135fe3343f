"""The one training engine; the only folder of `evaluation` that may load torch."""
