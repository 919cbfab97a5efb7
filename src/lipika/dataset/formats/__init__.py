"""The formats: each a module that writes shards, reads them again, and adds what belongs to the whole."""
