"""The work behind a command."""
