"""Does comparing with a second recogniser tell spellings from errors? `python -m benchmarks.alignment`."""
