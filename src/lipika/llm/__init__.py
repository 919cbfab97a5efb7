"""What is said to a model and read back: prompts, answers, and clients that translate and classify only.

Clients never sleep, retry, count or print.
"""
