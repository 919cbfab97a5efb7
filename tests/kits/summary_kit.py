"""Summaries of exports, and samples, as tests of the card need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lipika.audio.codec import Audio, encode_flac
from lipika.dataset.model import AudioForm, PlanRow, Tarset, Utterance
from lipika.dataset.summary import Amount, ExportSummary, Speakers

TEXTS = {"hi": "पहले सोच लो, फिर फ़ैसला करना।", "ta": "முதலில் யோசி.", "ur": "پہلے سوچ لو، پھر فیصلہ کرنا۔"}


def a_summary(
    languages: Sequence[str] = ("hi", "ta"), *, clips: int = 40, tests: bool = True, **changes: Any
) -> ExportSummary:
    """`clips` of train, and 10 of test, in each language; 4 s each. Ten more candidates were dropped."""
    splits = [("train", clips), ("test", 10)] if tests else [("train", clips)]
    each = sum(count for _, count in splits)
    total = each * len(languages)
    tarsets = [
        Tarset(language, split, 1, count, count * 4.0)
        for language in sorted(languages)
        for split, count in splits
    ]
    facts: dict[str, Any] = {
        "title": "Kisse: stories told at home",
        "format": "parquet",
        "reader": "Hugging Face datasets (Parquet)",
        "code_version": "0.1.0",
        "options": {"lane": "asr", "view": "asr", "seed": "7", "splits": "train=0.8 test=0.2"},
        "source": "s3://bucket/results",
        "data_up_to": "2026-11-20T10:00:00Z",
        "licence": "cc-by-4.0",
        "candidates": total + 10,
        "exported": total,
        "dropped": {"score_below": 7, "same_audio": 3},
        "tarsets": tarsets,
        "lanes": {
            one: {"asr": Amount(each, each * 4.0), "tts_clean": Amount(each // 2, each * 2.0)}
            for one in languages
        },
        "scores": {one: [0] * 8 + [each // 3, each - each // 3] for one in languages},
        "durations": [0, 0, 0, 0, total],
        "speakers": {one: Speakers(3, (8.0, 20.0, 40.0, 60.0, 92.0)) for one in languages},
        "models": {"gemini-3-flash-preview": total},
        "providers": {"aistudio": total},
        "prompts": {"1": total},
        "validators": {"3": total},
        "text_sources": {"model": total},
        "tiers": {"": total},
        "text_changes": {"punctuation": total - 1, "digits": 2},
        "notes": ["The smallest group went to test."],
    }
    return ExportSummary(**(facts | changes))


def a_plan_row(number: int = 0, language: str = "hi", **changes: Any) -> PlanRow:
    """A row as a plan has it, of 4 s."""
    row = PlanRow(
        id=f"{language}_video_{number:04}",
        video_id="video", clip=f"speaker0_{number * 500:05}_{number * 500 + 400:05}", job=0,
        language=language, split="train", shard=0,
        text=TEXTS.get(language, "ok"), verbatim=TEXTS.get(language, "ok"), tagged=TEXTS.get(language, "ok"),
        detected_language=language, language_hint=language, speaker="video_speaker0",
        duration_ms=4000, start_ms=number * 5000, end_ms=number * 5000 + 4000,
        quality_score=0.91, lanes="asr tts_clean", findings="overlap_timeline", flags="", tier="silver",
        snr_db=31.5, speech_ms=3100, bandwidth_hz=8000, alignment_score=None,
        emotion="neutral", style="conversational", pace="moderate", accent="unknown",
        model="gemini-3-flash-preview", provider="aistudio", prompt_version="1", validator_version="3",
        text_source="model", audio_digest="0" * 64, skip="",
    )  # fmt: skip
    return replace(row, **changes)


def an_utterance(number: int = 0, language: str = "hi", **changes: Any) -> Utterance:
    """A row with 4 s of a hum that is its own."""
    rate = 16_000
    hum = np.sin(2 * np.pi * (220 + 40 * number) * np.arange(4 * rate) / rate) * 6000
    audio = encode_flac(Audio(hum.astype(np.int16), rate, 16))
    return Utterance(a_plan_row(number, language, **changes), audio, AudioForm.FLAC, rate, 4 * rate)
