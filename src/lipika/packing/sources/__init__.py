"""A module for each kind of source: it gives items and refusals, in order, as a stream."""
