"""Cases as pictures, outlines of reference and prediction over the image."""
