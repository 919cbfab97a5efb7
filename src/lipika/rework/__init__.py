"""Stored results made anew."""
