"""The folder that nnU-Net searches for trainer classes (`nnUNet_extTrainer`)."""
