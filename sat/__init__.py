"""SAT-Nano: one network that segments a 3D scan by text prompts."""
