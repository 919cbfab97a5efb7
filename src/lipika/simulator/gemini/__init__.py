"""The Gemini API's wire format: `generateContent`, the model list, and their errors."""

from lipika.simulator.gemini.errors import (
    missing_key,
    too_large,
    unknown_model,
    unknown_path,
    wrong_key,
)
from lipika.simulator.gemini.replies import model_entry, page
from lipika.simulator.gemini.requests import read

__all__ = [
    "missing_key",
    "model_entry",
    "page",
    "read",
    "too_large",
    "unknown_model",
    "unknown_path",
    "wrong_key",
]
