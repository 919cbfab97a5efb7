"""Tars: the format, members, documents, and where they lie."""
