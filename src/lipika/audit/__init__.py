"""The quality of a corpus by what people heard in a sample of it: the sample, the estimates, the verdicts."""
