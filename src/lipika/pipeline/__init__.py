"""One video in, one result tar out."""
