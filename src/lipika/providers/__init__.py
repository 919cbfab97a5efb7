"""Clients for audio LLMs: they translate and classify only; they never sleep, retry, count or print."""
