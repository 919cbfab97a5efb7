"""lipika (लिपिका, "scribe"): archives of raw speech segments in, validated transcripts out."""

__version__ = "0.1.0"
