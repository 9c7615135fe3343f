"""What goes wrong with text prompts in particular."""
