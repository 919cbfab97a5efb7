"""The lean answer: the same answer in half the tokens, with short keys and codes and the words written once.

`expand` gives back every answer that `shrink` takes, to the letter. Keys and codes are part of the schema's version.
The codes are abbreviations that need no legend: one would cost more in every prompt than it saves in an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lipika.languages import DETECTABLE
from lipika.models import Answer

KEYS: Mapping[str, str] = {
    "t": "transcription",
    "g": "tagged",
    "l": "detected_language",
    "e": "speaker_emotion",
    "s": "speaker_style",
    "p": "speaker_pace",
    "a": "speaker_accent",
}
"""The fields by their short keys, in the order in which a model emits them."""

CODES: Mapping[str, Mapping[str, str]] = {
    "speaker_emotion": {
        "neu": "neutral",
        "hap": "happy",
        "sad": "sad",
        "ang": "angry",
        "fea": "fearful",
        "sur": "surprised",
        "dis": "disgusted",
        "oth": "other",
    },
    "speaker_style": {
        "conv": "conversational",
        "narr": "narration",
        "news": "news",
        "form": "formal",
        "ener": "energetic",
        "calm": "calm",
        "whis": "whisper",
        "shout": "shouting",
        "story": "storytelling",
        "oth": "other",
    },
    "speaker_pace": {"slow": "slow", "mod": "moderate", "fast": "fast"},
}
"""The words of the closed vocabularies by their codes. A language goes by its ISO code in either form."""

_CODE_OF = {name: {word: code for code, word in codes.items()} for name, codes in CODES.items()}
_FIELDS = frozenset(KEYS.values())
_UNKNOWN = "unknown"


def lean_schema() -> dict[str, Any]:
    """The JSON schema. All keys are required: strict servers insist on it, and what may be left out will be."""
    enums = {"detected_language": DETECTABLE, **CODES}
    return {
        "type": "object",
        "properties": {
            key: {"type": "string", **({"enum": list(enums[name])} if name in enums else {})}
            for key, name in KEYS.items()
        },
        "required": list(KEYS),
        "additionalProperties": False,
    }


def shrink(answer: Answer) -> dict[str, str]:
    """An answer in the lean form. A word outside its vocabulary stays as it is."""
    fields = asdict(answer)
    lean = {key: _CODE_OF.get(name, {}).get(fields[name], fields[name]) for key, name in KEYS.items()}
    lean["g"] = _leave_out(answer.tagged, answer.transcription)
    lean["a"] = _leave_out(answer.speaker_accent, _UNKNOWN)
    return lean


def expand(held: object) -> object:
    """The fields of a lean answer under their own names; whatever is none is given back as it came.

    Keys that belong to neither form stay, for the reader to refuse; with keys of both forms it is no answer.
    """
    if not isinstance(held, dict) or "t" not in held or held.keys() & _FIELDS:
        return held
    fields = {KEYS.get(key, key): value for key, value in held.items()}
    for name, codes in CODES.items():
        if isinstance(code := fields.get(name), str):
            fields[name] = codes.get(code) or codes.get(code.strip().lower(), code)
    for name, default in (("tagged", fields["transcription"]), ("speaker_accent", _UNKNOWN)):
        if isinstance(given := fields.get(name), str):
            fields[name] = _put_back(given, default)
    return fields


def _leave_out(text: str, default: str) -> str:
    """Nothing for a text that is the default. A blank text gets a space more, so that nothing can mean one thing."""
    return "" if text == default else text if text.strip(" ") else f" {text}"


def _put_back(text: str, default: Any) -> Any:
    return text if text.strip(" ") else text[1:] if text else default
