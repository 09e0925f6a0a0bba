"""One training loop for policy objectives, on transformers.Trainer and accelerate."""
