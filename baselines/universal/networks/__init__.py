"""The networks of universal segmentation systems: plain torch modules, each piece once."""
