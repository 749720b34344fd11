"""Every operation in plain PyTorch: the truth, and the path where nothing faster is registered."""
