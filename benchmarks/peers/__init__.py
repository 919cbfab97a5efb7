"""lipika's client beside others': the same clips, server and quota, each in an environment of its own."""
