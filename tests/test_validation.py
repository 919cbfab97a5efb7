"""Tier 1 from outside: one answer, one clip, one verdict."""

from __future__ import annotations

import pytest

from lipika.models import Answer, AudioFacts, Clip, SegmentName, Verdict
from lipika.validation import RULES, VALIDATOR_VERSION, validate

HINDI = "भारत में आज 25 लोग आए और उन्होंने कहा कि meeting कल 3 बजे होगी।"


def clip(
    duration_ms: int = 5_000, *, flags: tuple[str, ...] = (), boundary: float = 1.0, **facts: float
) -> Clip:
    name = SegmentName("speaker0", 0, duration_ms // 10)
    audio = {
        "speech_ms": int(duration_ms * 0.8),
        "rms_dbfs": -22.0,
        "peak_dbfs": -3.0,
        "snr_db": 35.0,
        "clipped_share": 0.0,
        "bandwidth_hz": 8000,
    } | facts
    return Clip(
        name=name,
        segment=name,
        original_start_ms=0,
        original_end_ms=duration_ms,
        trimmed_start_ms=0,
        trimmed_end_ms=duration_ms,
        leading_pad_ms=150,
        trailing_pad_ms=150,
        duration_ms=duration_ms + 300,
        sample_rate_hz=16_000,
        bit_depth=16,
        boundary_score=boundary,
        flags=flags,
        audio=AudioFacts(**audio),  # type: ignore[arg-type]
        audio_digest="0" * 64,
        trimmer_version="1",
    )


def answer(text: str, tagged: str | None = None, language: str = "hi") -> Answer:
    return Answer(
        text, text if tagged is None else tagged, language, "neutral", "news", "moderate", "unknown"
    )


def judge(
    text: str,
    tagged: str | None = None,
    *,
    language: str = "hi",
    hint: str | None = "hi",
    heard: Clip | None = None,
) -> Verdict:
    return validate(answer(text, tagged, language), heard or clip(), hint)


def codes(verdict: Verdict) -> set[str]:
    return {found.code for found in verdict.findings}


def test_a_good_answer_has_no_findings_and_every_lane() -> None:
    verdict = judge(HINDI)
    assert verdict.findings == ()
    assert verdict.quality_score == 1.0
    assert verdict.asr.eligible
    assert verdict.tts_clean.eligible
    assert verdict.tts_expressive.eligible
    assert verdict.text_length_per_sec == pytest.approx(len(HINDI) / 5)
    assert verdict.validator_version == VALIDATOR_VERSION


CASES = [
    ("no_speech_mixed", {"text": "NO_SPEECH नमस्ते आप कैसे हैं"}),
    ("no_words", {"text": "[UNK] ... [INAUDIBLE]"}),
    ("words_without_language", {"text": HINDI, "language": "none"}),
    ("speech_on_silence", {"text": HINDI, "heard": clip(peak_dbfs=-90.0, rms_dbfs=-96.0, speech_ms=0)}),
    ("speech_on_silence", {"text": HINDI, "heard": clip(speech_ms=40)}),
    ("speech_on_silence", {"text": HINDI, "heard": clip(rms_dbfs=-52.0, peak_dbfs=-40.0, snr_db=1.5)}),
    ("rate_impossible", {"text": HINDI * 3}),
    ("rate_high", {"text": HINDI, "heard": clip(2_900)}),
    ("rate_low", {"text": "हम कल आएँगे।"}),
    ("rate_too_low", {"text": "हाँ।"}),
    ("wrong_script", {"text": "ಇಂದು ಭಾರತದಲ್ಲಿ ಇಪ್ಪತ್ತು ಜನ ಬಂದರು ಎಂದು ಹೇಳಿದರು."}),
    ("foreign_script", {"text": HINDI + " ಇಂದು"}),
    ("latin_only", {"text": "we will all meet there tomorrow in the morning"}),
    ("latin_heavy", {"text": "please meeting tomorrow morning at office confirm करो"}),
    ("hint_mismatch", {"text": HINDI, "hint": "mr"}),
    ("language_other", {"text": HINDI, "language": "other"}),
    ("tag_mismatch", {"text": HINDI, "tagged": "[laugh] मैं कल नहीं आऊँगा।"}),
    ("tag_text_differs", {"text": HINDI, "tagged": HINDI.replace("आए", "आये")}),
    ("tag_in_transcription", {"text": HINDI + " [laugh]"}),
    ("unknown_tag", {"text": HINDI, "tagged": "[explosion] " + HINDI}),
    ("misspelt_tag", {"text": HINDI, "tagged": "[Laughter] " + HINDI}),
    ("vocal_event", {"text": HINDI, "tagged": "[cough] " + HINDI}),
    ("background_event", {"text": HINDI, "tagged": "[music] " + HINDI}),
    ("events_dense", {"text": HINDI, "tagged": "[breath] " * 9 + HINDI}),
    ("unk", {"text": HINDI * 2 + "[UNK]"}),
    ("unk_dense", {"text": "[UNK] " + HINDI + " [UNK]"}),
    ("inaudible", {"text": HINDI + " [INAUDIBLE]"}),
    ("inaudible_dense", {"text": "नमस्ते [INAUDIBLE] ठीक है"}),
    ("overlap_marked", {"text": HINDI + " [OVERLAP]"}),
    ("clipping", {"text": HINDI, "heard": clip(clipped_share=0.01)}),
    ("noisy", {"text": HINDI, "heard": clip(snr_db=9.0)}),
    ("quiet", {"text": HINDI, "heard": clip(rms_dbfs=-48.0)}),
    ("narrow_band", {"text": HINDI, "heard": clip(bandwidth_hz=3600)}),
    ("abrupt_start", {"text": HINDI, "heard": clip(flags=("abrupt_start",))}),
    ("abrupt_end", {"text": HINDI, "heard": clip(flags=("abrupt_end",))}),
    ("forced_cut", {"text": HINDI, "heard": clip(flags=("forced_cut",))}),
    ("no_speech", {"text": "NO_SPEECH", "language": "none"}),
    ("no_speech_tagged", {"text": "NO_SPEECH", "tagged": "[music] नमस्ते", "language": "none"}),
    ("no_speech_language", {"text": "NO_SPEECH"}),
    ("no_speech_energy", {"text": "NO_SPEECH", "language": "none"}),
]


@pytest.mark.parametrize(("code", "case"), CASES)
def test_each_finding_is_found(code: str, case: dict[str, object]) -> None:
    verdict = judge(**case)  # type: ignore[arg-type]
    assert code in codes(verdict)
    found = next(found for found in verdict.findings if found.code == code)
    assert found.severity is RULES[code].severity
    assert 0 < len(found.evidence) <= 160


def test_every_code_of_the_table_has_a_case() -> None:
    assert {code for code, _ in CASES} == set(RULES)


def test_a_consistent_no_speech_is_a_good_answer_without_lanes() -> None:
    silent = clip(peak_dbfs=-80.0, rms_dbfs=-90.0, speech_ms=0, snr_db=0.0)
    for tagged in ("NO_SPEECH", "", "[music]", "[breath] [noise]"):
        verdict = judge("NO_SPEECH", tagged, language="none", heard=silent)
        assert codes(verdict) == {"no_speech"}
        assert verdict.quality_score == 1.0
        assert verdict.asr.reasons == ("no_speech",)
        assert not verdict.tts_clean.eligible
        assert verdict.text_length_per_sec == 0.0
