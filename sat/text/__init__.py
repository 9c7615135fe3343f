"""From class names to queries: encoders, prompts, names that people write."""
