"""Checks of an answer: transcript, clip and language hint held against each other. Pure and fast.

`validate` reads an answer once, runs every check over the reading, and turns the findings into a score and
three lanes. The policy behind it is one table, `catalogue.RULES`; docs/validation.md explains it.
"""

from __future__ import annotations

from itertools import chain

from lipika.models import Answer, Clip, Verdict
from lipika.validation.aligned import add_alignment, alignment_findings
from lipika.validation.bands import DEFAULT_BANDS, Bands
from lipika.validation.catalogue import RULES, LaneName
from lipika.validation.checks import ON_NO_SPEECH, ON_SPEECH
from lipika.validation.checks.tags import marker_count
from lipika.validation.judge import add_findings, evidence, lane, quality, score_parts, suspects_overlap
from lipika.validation.reading import Reading, read
from lipika.validation.retry import acceptable, retry_advice, say_the_same, settle
from lipika.validation.timeline import overlap_findings, overlaps

VALIDATOR_VERSION = "6"
"""Bump when any answer could get another verdict."""

__all__ = [
    "DEFAULT_BANDS",
    "RULES",
    "VALIDATOR_VERSION",
    "Bands",
    "LaneName",
    "acceptable",
    "add_alignment",
    "add_findings",
    "alignment_findings",
    "judge",
    "overlap_findings",
    "overlaps",
    "retry_advice",
    "say_the_same",
    "validate",
    "validator_version",
]


def validate(
    answer: Answer,
    clip: Clip,
    language_hint: str | None,
    *,
    bands: Bands = DEFAULT_BANDS,
    agreed: bool = False,
) -> Verdict:
    """Judge one answer against its clip.

    `language_hint` is what the prompt was given (code or name; None or an unknown one switches the checks that
    need it off). `bands` are rate limits per language, from the registry unless calibrated; calibrated ones
    show in `validator_version`. `agreed`: an answer to other words says the same (`say_the_same`).
    """
    return judge(read(answer, clip, language_hint, bands), bands, agreed=agreed)


def judge(reading: Reading, bands: Bands, *, agreed: bool = False) -> Verdict:
    """The verdict of a reading that was made with the same `bands`."""
    answer = reading.answer
    checks = ON_NO_SPEECH if answer.no_speech else ON_SPEECH
    findings = tuple(chain.from_iterable([check(reading) for check in checks]))
    if agreed:
        findings = settle(findings)
    parts = score_parts(findings, evidence(reading))
    return Verdict(
        findings=findings,
        quality_score=quality(parts),
        score_parts=parts,
        asr=lane(LaneName.ASR, findings),
        tts_clean=lane(LaneName.TTS_CLEAN, findings),
        tts_expressive=lane(LaneName.TTS_EXPRESSIVE, findings),
        lang_mismatch=any(found.code in _LANGUAGE_CODES for found in findings),
        overlap_suspected=suspects_overlap(findings),
        num_unk=marker_count(reading, "UNK"),
        num_inaudible=marker_count(reading, "INAUDIBLE"),
        num_event_tags=reading.tags.events.total(),
        text_length_per_sec=0.0 if answer.no_speech else reading.chars_per_second,
        validator_version=validator_version(bands),
    )


def validator_version(bands: Bands = DEFAULT_BANDS) -> str:
    """The version that verdicts under these limits carry: two with the same version agree on every answer."""
    return f"{VALIDATOR_VERSION}+{bands.version}" if bands.version else VALIDATOR_VERSION


_LANGUAGE_CODES = frozenset({"hint_mismatch", "language_other", "same_script_language"})
