"""Tier 1.5: what a second recogniser, IndicConformer, heard in a clip, held against the answer."""
