"""How long the queue takes and what it costs. Pure."""
