"""A model's answer as it comes."""

from __future__ import annotations

import json

GOOD: dict[str, object] = {
    "transcription": "नमस्ते, 3 बजे meeting है।",
    "tagged": "[breath] नमस्ते, 3 बजे meeting है।",
    "detected_language": "hi",
    "speaker_emotion": "neutral",
    "speaker_style": "conversational",
    "speaker_pace": "moderate",
    "speaker_accent": "Delhi",
}


def written(**changes: object) -> str:
    return json.dumps(GOOD | changes, ensure_ascii=False)
