"""Text-atlas contrastive learning: regions of the 3D encoder against the text of their class."""
