"""Answers by the way they were asked for: listed, two ways compared, one made the results again."""
