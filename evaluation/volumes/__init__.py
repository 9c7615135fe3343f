"""Images and label maps: read, written, resampled, packed into layers."""
