"""A second recogniser, IndicConformer: hears clips itself, and its text is held against the answer."""
