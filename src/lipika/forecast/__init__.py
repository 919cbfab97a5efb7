"""The time and the cost of the queue. Pure."""
