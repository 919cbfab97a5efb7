"""Measures over the rows of a canary: per arm, per language, and arm against arm on the same clips. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from lipika.canary.arms import Arm, ArmKind
from lipika.canary.joint_measures import JointMeasures, measure_joint
from lipika.canary.readings import ReadingMeasures, measure_readings
from lipika.canary.records import Asked, CanaryRun
from lipika.canary.texts import ClipTexts, texts_of
from lipika.forecast.forecast import Unit
from lipika.forecast.intervals import mean, ratio
from lipika.forecast.shares import Estimate, wilson
from lipika.models import Usage
from lipika.validation.text import normalise, without_tags

_PERCENTILES = (50.0, 95.0, 99.0)
_CURVE_POINTS = 101
_WORST = 12


@dataclass(frozen=True, slots=True)
class LatencyMeasures:
    """Of attempts that were answered, milliseconds. `curve` are its 0th to 100th percentiles."""

    p50: float
    p95: float
    p99: float
    curve: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TokensEach:
    """Means of one clip, all its attempts included; `text` and `audio` are without what was cached."""

    text: float
    audio: float
    cached: float
    answer: float
    thoughts: float


@dataclass(frozen=True, slots=True)
class ArmMeasures:
    """One arm in figures. Shares are 0..1 with their 95 % intervals."""

    arm: Arm
    clips: int
    ended_well: Estimate  # transcribed or without speech
    no_speech: int
    failed: int
    requests: int
    rate_limited: Estimate  # of requests
    retries_each: float
    failure_kinds: Mapping[str, int]
    looped: Estimate  # first answers that go round in circles
    cut: int  # ... of them, those that ran into their cap
    first_try: Estimate  # first answers that are kept as they are
    cost_each: Estimate  # US dollars of a clip
    tokens: TokensEach
    cache_hits: Estimate  # of answered requests
    cached_share: float  # of prompt tokens
    latency: LatencyMeasures
    quality: Estimate
    asr: Estimate
    tts_clean: Estimate
    tts_expressive: Estimate
    lang_mismatch: Estimate
    findings: Mapping[str, int]  # of kept answers, the most frequent first
    model_versions: tuple[str, ...]
    usd: float
    went_up: Estimate | None = None  # of a cascade: clips for which a better model was asked, too


@dataclass(frozen=True, slots=True)
class LanguageMeasures:
    """One language in one arm."""

    arm: str
    language: str
    clips: int
    asr: Estimate
    tts_clean: Estimate
    quality: Estimate
    failed: int
    looped: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One clip whose two texts differ."""

    language: str
    video_id: str
    segment_file: str
    cer: float
    baseline: str
    other: str


@dataclass(frozen=True, slots=True)
class Against:
    """One arm against the baseline, on clips that both have ended. Differences are arm minus baseline.

    `cer` is the letters that differ over those of the baseline, after normalisation, over all clips where both found
    speech; the two are two opinions, and neither is the truth.
    """

    arm: str
    clips: int
    compared: int
    cer: Estimate
    cer_by_language: Mapping[str, Estimate]
    identical: Estimate
    speech_disagreed: int  # one found speech, the other none
    looped_more: Estimate
    cost_ratio: Estimate
    latency_ratio: float  # of the medians
    quality_more: Estimate
    asr_more: Estimate
    worst: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """All of it."""

    arms: tuple[ArmMeasures, ...]
    languages: tuple[LanguageMeasures, ...]
    against: tuple[Against, ...]
    joint: tuple[JointMeasures, ...] = ()  # of arms that ask for several clips at once
    readings: tuple[ReadingMeasures, ...] = ()  # of arms that read disputed clips again
    texts: tuple[ClipTexts, ...] = ()  # the clips on which arms differ most, with what each wrote


def measure(run: CanaryRun, arms: Sequence[Arm]) -> Measures:
    """The figures of a run; arms without any row are left out."""
    rows = _group_rows(run.asked, lambda one: one.arm)
    there = [arm for arm in arms if rows.get(arm.name)]
    baseline = rows.get(arms[0].name, [])
    against = tuple(_against(arm.name, baseline, rows[arm.name]) for arm in there if arm is not arms[0])
    return Measures(
        arms=tuple(_measure_arm(arm, rows[arm.name]) for arm in there),
        languages=tuple(
            _measure_language(arm.name, language, found)
            for arm in there
            for language, found in sorted(_group_rows(rows[arm.name], lambda one: one.language).items())
        ),
        against=against,
        texts=texts_of(
            [one.worst for one in against if one.cer.value > 0],
            {arms[0].name: baseline} | {arm.name: rows[arm.name] for arm in there},
            _distance,
        ),
        readings=tuple(
            measure_readings(arm.name, baseline, rows[arm.name])
            for arm in there
            if arm.kind is ArmKind.READING
        ),
        joint=tuple(
            found for arm in there if (found := measure_joint(arm.name, baseline, rows[arm.name])) is not None
        ),
    )


def units(run: CanaryRun, arm: str) -> list[Unit]:
    """The sample for a forecast: the clips of each video together, each language a stratum of its own."""
    rows = _group_rows((one for one in run.asked if one.arm == arm), lambda one: one.video_id)
    return [
        Unit(
            clips=len(video),
            requests=sum(one.requests_each for one in video),
            prompt_tokens=sum(one.usage.prompt for one in video),
            output_tokens=sum(one.usage.output for one in video),
            usd=sum(one.cost_usd for one in video),
            stratum=video[0].language,
        )
        for video in rows.values()
    ]


def mean_latency_s(run: CanaryRun, arm: str) -> float:
    """Of one answered request; 0 where there is none."""
    latencies = [ms for one in run.asked if one.arm == arm for ms in one.latencies_ms]
    return sum(latencies) / len(latencies) / 1000 if latencies else 0.0


# ----------------------------------------------------------------------------- one arm


def share_gone_up(run: CanaryRun, arm: Arm) -> float | None:
    """The share of an arm's clips for which a better model was asked, too; None where it is no cascade."""
    rows = [one for one in run.asked if one.arm == arm.name]
    return sum(one.went_up for one in rows) / len(rows) if arm.above and rows else None


def _measure_arm(arm: Arm, rows: Sequence[Asked]) -> ArmMeasures:
    usage = sum((one.usage for one in rows), Usage())
    requests = sum(one.requests_each for one in rows)
    answered = sum(len(one.latencies_ms) for one in rows)
    well = [one for one in rows if one.status != "failed"]
    return ArmMeasures(
        arm=arm,
        clips=len(rows),
        ended_well=wilson(len(well), len(rows)),
        no_speech=sum(one.status == "no_speech" for one in rows),
        failed=len(rows) - len(well),
        requests=round(requests),
        rate_limited=wilson(sum(one.rate_limited for one in rows), sum(one.requests for one in rows)),
        retries_each=requests / len(rows) - 1,
        failure_kinds=_most(kind for one in rows for kind in one.failure_kinds),
        looped=wilson(sum(one.looped for one in rows), len(rows)),
        cut=sum(one.first_failure == "truncated" for one in rows),
        first_try=wilson(sum(one.kept_at_first for one in well), len(rows)),
        cost_each=mean([one.cost_usd for one in rows]),
        tokens=_tokens_each(usage, len(rows)),
        cache_hits=wilson(sum(one.cache_hits for one in rows), answered),
        cached_share=usage.cached / usage.prompt if usage.prompt else 0.0,
        latency=_latency([ms for one in rows for ms in one.latencies_ms]),
        quality=mean([one.quality_score for one in rows if one.quality_score is not None]),
        asr=_lane(rows, "asr"),
        tts_clean=_lane(rows, "tts_clean"),
        tts_expressive=_lane(rows, "tts_expressive"),
        lang_mismatch=wilson(sum(_has_language_mismatch(one) for one in well), len(well)),
        findings=_most(code for one in rows for code in one.findings),
        model_versions=tuple(sorted({one.model_version for one in rows if one.model_version})),
        usd=sum(one.cost_usd for one in rows),
        went_up=wilson(sum(one.went_up for one in rows), len(rows)) if arm.above else None,
    )


def _measure_language(arm: str, language: str, rows: Sequence[Asked]) -> LanguageMeasures:
    return LanguageMeasures(
        arm=arm,
        language=language,
        clips=len(rows),
        asr=_lane(rows, "asr"),
        tts_clean=_lane(rows, "tts_clean"),
        quality=mean([one.quality_score for one in rows if one.quality_score is not None]),
        failed=sum(one.status == "failed" for one in rows),
        looped=sum(one.looped for one in rows),
    )


def _lane(rows: Sequence[Asked], lane: str) -> Estimate:
    """Of clips with speech: silence is no fault of the answer."""
    spoken = [one for one in rows if one.status != "no_speech"]
    return wilson(sum(lane in one.lanes for one in spoken), len(spoken))


def _has_language_mismatch(row: Asked) -> bool:
    return bool({"hint_mismatch", "language_other", "same_script_language"} & set(row.findings))


def _tokens_each(usage: Usage, clips: int) -> TokensEach:
    cached_text = min(usage.cached, usage.prompt_text)
    return TokensEach(
        text=(usage.prompt_text - cached_text) / clips,
        audio=(usage.prompt_audio - (usage.cached - cached_text)) / clips,
        cached=usage.cached / clips,
        answer=(usage.output - usage.thoughts) / clips,
        thoughts=usage.thoughts / clips,
    )


def _latency(milliseconds: Sequence[float]) -> LatencyMeasures:
    if not milliseconds:
        return LatencyMeasures(math.nan, math.nan, math.nan, ())
    values = np.asarray(milliseconds, np.float64)
    p50, p95, p99 = (float(value) for value in np.percentile(values, _PERCENTILES))
    curve = np.percentile(values, np.linspace(0, 100, _CURVE_POINTS))
    return LatencyMeasures(p50, p95, p99, tuple(round(float(value), 1) for value in curve))


# ----------------------------------------------------------------------------- arm against arm


def _against(name: str, baseline: Sequence[Asked], rows: Sequence[Asked]) -> Against:
    known = {(one.video_id, one.segment_file): one for one in baseline}
    pairs = [
        (known[(one.video_id, one.segment_file)], one)
        for one in rows
        if (one.video_id, one.segment_file) in known
    ]
    spoken = [pair for pair in pairs if all(one.status == "transcribed" for one in pair)]
    distances = [_distance(first.transcription, second.transcription) for first, second in spoken]
    return Against(
        arm=name,
        clips=len(pairs),
        compared=len(spoken),
        cer=ratio([float(errors) for errors, _ in distances], [float(letters) for _, letters in distances]),
        cer_by_language=_error_rate_by_language(spoken, distances),
        identical=wilson(sum(errors == 0 for errors, _ in distances), len(distances)),
        speech_disagreed=sum(
            {first.status, second.status} == {"transcribed", "no_speech"} for first, second in pairs
        ),
        looped_more=mean([float(second.looped) - float(first.looped) for first, second in pairs]),
        cost_ratio=ratio([second.cost_usd for _, second in pairs], [first.cost_usd for first, _ in pairs]),
        latency_ratio=_median_latency(second for _, second in pairs)
        / _median_latency(first for first, _ in pairs),
        quality_more=mean(
            [
                second.quality_score - first.quality_score
                for first, second in pairs
                if first.quality_score is not None and second.quality_score is not None
            ]
        ),
        asr_more=mean(
            [float("asr" in second.lanes) - float("asr" in first.lanes) for first, second in pairs]
        ),
        worst=_worst(spoken, distances),
    )


def _distance(one: str, other: str) -> tuple[int, int]:
    """(edits between the two in normal form, code points of the first)."""
    first, second = normalise(without_tags(one)), normalise(without_tags(other))
    return int(Levenshtein.distance(first, second)), max(len(first), 1)


def _error_rate_by_language(
    pairs: Sequence[tuple[Asked, Asked]], distances: Sequence[tuple[int, int]]
) -> dict[str, Estimate]:
    groups: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for (first, _), distance in zip(pairs, distances, strict=True):
        groups[first.language].append(distance)
    return {
        language: ratio([float(errors) for errors, _ in found], [float(letters) for _, letters in found])
        for language, found in sorted(groups.items())
    }


def _worst(
    pairs: Sequence[tuple[Asked, Asked]], distances: Sequence[tuple[int, int]]
) -> tuple[Disagreement, ...]:
    """The pairs that differ most, one for each language first."""
    rated = sorted(
        (
            (errors / letters, first, second)
            for (first, second), (errors, letters) in zip(pairs, distances, strict=True)
        ),
        key=lambda entry: -entry[0],
    )
    seen: Counter[str] = Counter()
    ranked = []
    for cer, first, second in rated:
        if cer > 0:
            ranked.append((seen[first.language], -cer, first, second))
            seen[first.language] += 1
    ranked.sort(key=lambda entry: entry[:2])
    return tuple(
        Disagreement(
            first.language,
            first.video_id,
            first.segment_file,
            -cer,
            first.transcription,
            second.transcription,
        )
        for _, cer, first, second in ranked[:_WORST]
    )


def _median_latency(rows: Iterable[Asked]) -> float:
    latencies = [ms for one in rows for ms in one.latencies_ms]
    return float(np.median(latencies)) if latencies else math.nan


# ----------------------------------------------------------------------------- small things


def _group_rows(rows: Iterable[Asked], key: Callable[[Asked], str]) -> dict[str, list[Asked]]:
    groups: dict[str, list[Asked]] = defaultdict(list)
    for one in rows:
        groups[key(one)].append(one)
    return groups


def _most(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
