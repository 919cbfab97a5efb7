"""A process life, and what is seen of it."""
