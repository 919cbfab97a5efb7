"""Summaries of exports, and samples, as tests of the card need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dataset_kit import ROW, utterance
from lipika.dataset.model import PlanRow, Tarset, Utterance
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
    """A row as a plan has it; its id is its own in all languages."""
    text = TEXTS.get(language, "ok")
    row = replace(ROW, id=f"{language}-{number:04}", language=language, text=text, verbatim=text, tagged=text)
    return replace(row, **changes)


def an_utterance(number: int = 0, language: str = "hi") -> Utterance:
    """Such a row with 2 s of audio of its own."""
    return replace(utterance(number), row=a_plan_row(number, language))
