"""One module per client, with `client()`: how it is used as its own documentation says, for many requests at once."""
