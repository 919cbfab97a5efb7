"""Launches and the one retry loop."""
