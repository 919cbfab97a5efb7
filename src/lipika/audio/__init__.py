"""Samples: decoders, codecs, levels, cuts."""
