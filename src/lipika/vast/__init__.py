"""Machines for rent at vast.ai."""
