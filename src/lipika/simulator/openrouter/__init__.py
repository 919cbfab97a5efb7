"""OpenRouter's wire format: chat completions with audio input, the key and the model list, and their errors."""

from lipika.simulator.openrouter.errors import no_key, too_large, wrong_key
from lipika.simulator.openrouter.replies import key_entry, model_entry, page
from lipika.simulator.openrouter.requests import read

__all__ = ["key_entry", "model_entry", "no_key", "page", "read", "too_large", "wrong_key"]
