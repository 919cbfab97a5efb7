"""Clips asked for again: chosen as on the page Clips, asked another way, the better answer made the result."""
