"""What `scripts/check_loaders.py` is made of."""
