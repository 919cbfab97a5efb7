"""Conversation with a model: prompts, answers, and clients that translate and classify only.

Clients never sleep, retry, count or print.
"""
