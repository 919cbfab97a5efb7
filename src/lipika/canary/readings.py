"""Second readings: the clips that are disputed, by whom, and the change that reading them again brings. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from lipika.canary.records import Asked
from lipika.forecast.intervals import mean, ratio
from lipika.forecast.shares import Estimate, sign_test
from lipika.llm.transcript import NO_SPEECH
from lipika.validation.text import normalise, without_tags

DISPUTED = 0.15
"""Two texts dispute a clip that differ in more of their letters, after normalisation."""
RETRY = "its own retry"


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody's text of a clip."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Voices:
    """All that is on record of a clip's audio: texts of others, and how a person has read it."""

    others: tuple[Voice, ...] = ()
    reference: str = ""


NO_VOICES = Voices()


def find_dispute(row: Asked, others: Sequence[Voice]) -> Voice | None:
    """The first of other voices whose text differs too much from a clip's; else that of its own retry, where it
    differs at all: a retry comes of a doubt."""
    if row.status == "failed":
        return None
    for voice in others:
        if voice.text.strip() and _distance(row.transcription, voice.text) > DISPUTED:
            return voice
    before = next((text for text in row.texts_before if _distance(row.transcription, text) > 0), None)
    return None if before is None else Voice(RETRY, before)


def add_reading(before: Asked, reading: Asked, voice: Voice) -> Asked:
    """The baseline's row with a second reading: its text, if it could be read, and all that both have cost."""
    kept = before if reading.status == "failed" else reading
    return replace(
        kept,
        requests=before.requests + reading.requests,
        rate_limited=before.rate_limited + reading.rate_limited,
        failure_kinds=(*before.failure_kinds, *reading.failure_kinds),
        latencies_ms=(*before.latencies_ms, *reading.latencies_ms),
        cache_hits=before.cache_hits + reading.cache_hits,
        usage=before.usage + reading.usage,
        cost_usd=before.cost_usd + reading.cost_usd,
        first_findings=before.first_findings,
        first_failure=before.first_failure,
        texts_before=(*before.texts_before, before.transcription),
        voice=voice.name,
        other_text=voice.text,
        reading_usd=reading.cost_usd,
        reference=before.reference,
    )


@dataclass(frozen=True, slots=True)
class ReadingMeasures:
    """The clips that were read a second time, before and after. Shares are 0..1; differences are after minus before.

    `p_*` are exact sign tests, two-sided: the chance of such a split if readings made clips better and worse alike.
    """

    arm: str
    clips: int  # of the arm
    read: int  # a second time
    voices: Mapping[str, int]
    doubted_before: float
    doubted_more: Estimate
    asr_before: float
    asr_more: Estimate
    better: int  # clips that came into the lane asr, or lost all findings
    worse: int
    p_better: float
    sides: Mapping[str, int]  # whose text it is nearest to: first, other, neither
    usd_each: Estimate  # of one reading
    usd: float
    referenced: int  # clips that a person has read
    cer_before: Estimate
    cer_after: Estimate
    nearer: int  # of those
    farther: int
    p_nearer: float


def measure_readings(arm: str, baseline: Sequence[Asked], rows: Sequence[Asked]) -> ReadingMeasures:
    """The measures of an arm that reads again."""
    known = {(one.video_id, one.segment_file): one for one in baseline}
    pairs = [(known[one.video_id, one.segment_file], one) for one in rows if one.voice]
    scores = [(_score(after), _score(before)) for before, after in pairs]
    better, worse = sum(new > old for new, old in scores), sum(new < old for new, old in scores)
    heard = [(before, after) for before, after in pairs if after.reference]
    errors = [tuple(_errors(one, after.reference) for one in (before, after)) for before, after in heard]
    letters = [float(max(len(_plain(after.reference)), 1)) for _, after in heard]
    nearer, farther = sum(new < old for old, new in errors), sum(new > old for old, new in errors)
    count = max(len(pairs), 1)
    return ReadingMeasures(
        arm=arm,
        clips=len(rows),
        read=len(pairs),
        voices=dict(Counter(after.voice for _, after in pairs).most_common()),
        doubted_before=sum(bool(before.findings) for before, _ in pairs) / count,
        doubted_more=mean([float(bool(after.findings)) - bool(before.findings) for before, after in pairs]),
        asr_before=sum("asr" in before.lanes for before, _ in pairs) / count,
        asr_more=mean([float("asr" in after.lanes) - ("asr" in before.lanes) for before, after in pairs]),
        better=better,
        worse=worse,
        p_better=sign_test(better, worse),
        sides=dict(Counter(_side(before, after) for before, after in pairs).most_common()),
        usd_each=mean([after.reading_usd for _, after in pairs]),
        usd=sum(after.reading_usd for _, after in pairs),
        referenced=len(heard),
        cer_before=ratio([float(old) for old, _ in errors], letters),
        cer_after=ratio([float(new) for _, new in errors], letters),
        nearer=nearer,
        farther=farther,
        p_nearer=sign_test(nearer, farther),
    )


def _score(row: Asked) -> tuple[bool, bool]:
    return "asr" in row.lanes, not row.findings


def _side(before: Asked, after: Asked) -> str:
    first, other = (
        _distance(after.transcription, before.transcription),
        _distance(after.transcription, after.other_text),
    )
    if min(first, other) > DISPUTED:
        return "neither"
    return "first" if first <= other else "other"


def _errors(row: Asked, reference: str) -> int:
    return int(Levenshtein.distance(_plain(row.transcription), _plain(reference)))


def _distance(one: str, other: str) -> float:
    return float(Levenshtein.normalized_distance(_plain(one), _plain(other)))


def _plain(text: str) -> str:
    return "" if text.strip() == NO_SPEECH else normalise(without_tags(text))
