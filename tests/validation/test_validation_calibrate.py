"""Learning rate limits from transcripts, and comparing verdicts of two validators."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lipika.errors import UsageError
from lipika.validation import DEFAULT_BANDS, LaneName, validate
from lipika.validation.bands import RateBand
from lipika.validation.calibrate import (
    HIGHEST_SYLLABLES,
    LEAST_CLIPS,
    NOTHING_LEARNED,
    Calibration,
    Histogram,
    Observation,
    calibrate,
    changes,
    collect,
    from_json,
    merge,
    observe,
)
from lipika.validation.checks.rate import Rates, rate_codes
from lipika.validation.compare import ComparedVerdict, Confusion
from verdict_kit import HINDI, answer, clip


def plain_rates(syllables: float, chars: float) -> Rates:
    return Rates(syllables, chars, syllables, chars)


def seen(language: str, clips: int, middle: float = 6.0, width: float = 1.0) -> Iterator[Observation]:
    chance = random.Random(language)
    for _ in range(clips):
        rate = max(0.2, chance.gauss(middle, width))
        yield Observation(language, plain_rates(rate, rate * 2.2), chance.uniform(0.6, 1.0))


@pytest.fixture(scope="module")
def learned() -> Calibration:
    return calibrate(
        collect([*seen("hi", 3000), *seen("ta", 2000, middle=7.5), *seen("ur", LEAST_CLIPS - 1)])
    )


def test_limits_follow_the_quartiles(learned: Calibration) -> None:
    band = learned.bands["hi"]  # quartiles of a normal distribution: 0.674 sigma from the middle
    assert band.syllables_high_warn == pytest.approx(6 + 0.674 + 1.5 * 1.349, abs=0.2)
    assert band.syllables_high_fail == pytest.approx(6 + 0.674 + 3 * 1.349, abs=0.3)
    assert band.syllables_low_warn == pytest.approx(6 - 0.674 - 2 * 1.349, abs=0.2)
    assert band.syllables_slow == pytest.approx(6 - 0.674 - 1.5 * 1.349, abs=0.2)
    assert band.syllables_low_fail == pytest.approx(6 - 0.674 - 3 * 1.349, abs=0.3)
    assert band.chars_high_warn == pytest.approx(2.2 * band.syllables_high_warn, abs=0.4)
    assert learned.bands["ta"].syllables_high_warn > band.syllables_high_warn


def test_too_few_clips_leave_the_registry_in_force(learned: Calibration) -> None:
    assert set(learned.bands) == {"hi", "ta"}
    bands = learned.as_bands()
    assert bands.by_language["ur"] == DEFAULT_BANDS.by_language["ur"]
    assert bands.by_language["hi"] == learned.bands["hi"]
    assert bands.version == learned.version


def test_limits_stay_possible_and_ordered_whatever_the_data() -> None:
    odd = calibrate(collect([*seen("hi", 1500, middle=16, width=9), *seen("ta", 1500, middle=1, width=0.4)]))
    for band in odd.bands.values():
        low, high = (
            (band.syllables_low_fail, band.syllables_low_warn),
            (band.syllables_high_warn, band.syllables_high_fail),
        )
        assert 0 < low[0] <= low[1] <= high[0] <= high[1] <= HIGHEST_SYLLABLES


def test_it_says_what_would_change(learned: Calibration) -> None:
    samples = collect([*seen("hi", 3000), *seen("ta", 2000, middle=7.5)])
    rows = {row.language: row for row in changes(samples, learned)}
    hindi = rows["hi"]
    assert (hindi.taught, hindi.clips) == (3000, 3000)
    assert hindi.odd_before == hindi.closed_before < 0.02 * 3000
    assert 0 < hindi.odd_after < 0.04 * 3000
    assert 0 < hindi.changed < 0.04 * 3000
    assert hindi.closed_after <= hindi.changed
    assert hindi.old == DEFAULT_BANDS.by_language["hi"]
    assert hindi.odd_score == pytest.approx(max(0, 0.7 - 1.5 * 0.2), abs=0.05)


def test_the_changes_that_are_foretold_are_those_that_come() -> None:
    """The same answer over clips of many lengths, judged under both limits."""
    clips = [clip(1_000 + 7 * number) for number in range(LEAST_CLIPS)]
    samples = collect(filter(None, (observe(answer(HINDI), heard, "hi") for heard in clips)))
    learned = calibrate(samples)
    (row,) = changes(samples, learned)
    before = [validate(answer(HINDI), heard, "hi") for heard in clips]
    after = [validate(answer(HINDI), heard, "hi", bands=learned.as_bands()) for heard in clips]
    changed = sum(old.findings != new.findings for old, new in zip(before, after, strict=True))
    assert changed > 100
    assert row.changed == pytest.approx(changed, rel=0.05)
    assert row.closed_after == pytest.approx(sum(not new.asr.eligible for new in after), rel=0.05)
    assert row.clips == len(clips)


def test_parts_collected_apart_are_the_whole() -> None:
    seen_hindi, seen_tamil = list(seen("hi", 1500)), list(seen("ta", 1200))
    samples = collect(seen_hindi[:700])
    merge(samples, collect([*seen_hindi[700:], *seen_tamil]))
    assert samples == collect([*seen_hindi, *seen_tamil])


def test_one_voice_does_not_condemn_all_others() -> None:
    monotone = calibrate(collect(Observation("hi", plain_rates(6.0, 13.0), 1.0) for _ in range(LEAST_CLIPS)))
    band = monotone.bands["hi"]
    assert band.syllables_low_fail < band.syllables_low_warn < 6 < band.syllables_high_warn
    assert band.chars_high_warn > 14


def test_a_file_comes_back_as_it_was(learned: Calibration) -> None:
    assert from_json(learned.to_json()) == learned
    assert from_json(learned.to_json()).version == learned.version


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": "lipika-calibration-0"}, "calibrate again"),
        ({"bands": {"hi": {"syllables_low_fail": 1}}}, "limits"),
        ({"bands": {}}, "edited"),
        ({"version": "cal-00000000"}, "edited"),
        ({"bands": 3}, "not a calibration file"),
    ],
)
def test_another_file_is_refused(learned: Calibration, change: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        from_json(json.dumps(json.loads(learned.to_json()) | change))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "3"])
def test_what_is_no_file_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="lipika calibrate"):
        from_json(text)


def test_quantiles_of_a_histogram() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) == 0.0
    for value in range(1, 101):
        histogram.add(value)
    assert histogram.quantile(0.25) == pytest.approx(25)
    assert histogram.quantile(1.0) == pytest.approx(100)
    assert histogram.outside(10, 90) == 19


def test_only_sound_transcripts_teach() -> None:
    taught = observe(answer(HINDI), clip(), "hi")
    assert taught is not None
    assert taught.language == "hi"
    assert taught.rates.chars == pytest.approx(len(HINDI) / 5)
    assert observe(answer("NO_SPEECH", language="none"), clip(), "hi") is None
    assert observe(answer("hello my friend", language="other"), clip(), None) is None
    loop = observe(answer("हाँ " * 20), clip(), "hi")
    fast = observe(answer(HINDI), clip(1_000), "hi")
    assert loop is not None
    assert fast is not None
    assert not loop.sound
    assert fast.sound, "fast ones belong into the statistics"
    sample = collect([taught, loop, fast])["hi"]
    assert (sample.clips, sample.shapes.total()) == (2, 3)


def test_confusion_counts_what_moved() -> None:
    old = ComparedVerdict.from_verdict(validate(answer(HINDI), clip(), "hi"))
    new = ComparedVerdict.from_verdict(validate(answer(HINDI), clip(clipped_share=0.1), "hi"))
    assert old.lanes == tuple(LaneName)
    assert new.lanes == (LaneName.ASR,)

    counts, rest = Confusion(), Confusion()
    counts.add(old, new)
    rest.add(new, old)
    rest.add(old, old)
    counts.merge([rest])
    assert counts.clips == 3
    assert counts.lanes[LaneName.ASR] == {(True, True): 3}
    assert counts.lanes[LaneName.TTS_CLEAN] == {(True, False): 1, (False, True): 1, (True, True): 1}
    assert counts.gained == counts.lost == {"clipping": 1}
    assert counts.deciles == {(9, 7): 1, (7, 9): 1, (9, 9): 1}
    assert (counts.score_rose, counts.score_fell) == (1, 1)
    assert not counts.is_unchanged


def test_nothing_moved() -> None:
    same = ComparedVerdict.from_verdict(validate(answer(HINDI), clip(), "hi"))
    counts = Confusion()
    counts.add(same, same)
    assert counts.is_unchanged


# ----------------------------------------------------------------------------- corpora in which many texts are cut


def corpus(clips: int, middle: float, cut_share: float, seed: int = 1) -> Iterator[tuple[bool, Observation]]:
    """Speech of many voices; of `cut_share` of its texts half the words are lost. Whether one is, and its rates."""
    chance = random.Random(seed)
    for _ in range(clips):
        syllables = max(0.5, chance.gauss(middle, middle * 0.18))
        chars = syllables * 1.48 * chance.gauss(1, 0.08)
        cut = chance.random() < cut_share
        left = 0.5 if cut else 1.0
        said = (syllables * left, chars * left)
        yield cut, Observation("hi", Rates(*said, said[0] * 1.12, said[1] * 1.1), 0.9)


def closed(band: RateBand, seen: list[tuple[bool, Observation]], cut: bool) -> float:
    """The share of the cut ones, or of the whole ones, that their rate keeps out of every lane."""
    codes = [rate_codes(band, one.rates) for is_cut, one in seen if is_cut is cut]
    return sum(bool({"rate_low", "rate_too_low"} & set(found)) for found in codes) / len(codes)


def unattended(middle: float, cut_share: float) -> RateBand:
    samples = collect(one for _, one in corpus(4_000, middle, cut_share))
    return calibrate(samples, unattended=True).bands["hi"]


@pytest.mark.parametrize("middle", [4.3, 5.5, 6.8, 8.0])
@pytest.mark.parametrize("cut_share", [0.0, 0.1, 0.3, 0.45])
def test_what_learns_by_itself_closes_cut_texts_however_many_there_are(
    middle: float, cut_share: float
) -> None:
    """As the registry does with speech of the rate that it was measured on, or of this one where that is faster."""
    tried = list(corpus(4_000, middle, 0.5, seed=2))
    registry, at_its_rate = DEFAULT_BANDS.by_language["hi"], list(corpus(4_000, 6.8, 0.5, seed=2))
    of_registry = min(closed(registry, speech, cut=True) for speech in (at_its_rate, tried))
    band = unattended(middle, cut_share)
    assert closed(band, tried, cut=True) > of_registry - 0.08
    assert closed(band, tried, cut=False) < 0.02


def test_slow_speech_is_open_after_it_has_taught() -> None:
    slow = list(corpus(4_000, 4.3, 0.0, seed=2))
    assert closed(DEFAULT_BANDS.by_language["hi"], slow, cut=False) > 0.2
    assert closed(unattended(4.3, 0.0), slow, cut=False) < 0.02


@pytest.mark.parametrize("cut_share", [0.1, 0.3, 0.45])
def test_cut_texts_do_not_teach(cut_share: float) -> None:
    """What a person learns from such a corpus is nearly what the whole texts alone would teach."""
    samples = collect(one for _, one in corpus(4_000, 6.8, cut_share))
    learned = calibrate(samples).bands["hi"]
    whole = calibrate(collect(one for cut, one in corpus(4_000, 6.8, cut_share) if not cut)).bands["hi"]
    assert learned.syllables_low_warn > 0.7 * whole.syllables_low_warn
    assert learned.syllables_high_warn == pytest.approx(whole.syllables_high_warn, rel=0.04)
    (row,) = changes(samples, calibrate(samples))
    assert row.short == pytest.approx(4_000 * cut_share, rel=0.15)


def test_limits_that_no_data_teach_are_refused(learned: Calibration) -> None:
    for limit, value in (
        ("syllables_low_fail", 0.1),
        ("syllables_low_warn", math.nan),
        ("syllables_high_fail", 30.0),
        ("chars_high_fail", 1e9),
        ("chars_slow", 0.0),
    ):
        loose = replace(learned, bands={"hi": replace(learned.bands["hi"], **{limit: value})})
        with pytest.raises(UsageError, match="no calibration has such limits"):
            from_json(loose.to_json())


def test_a_newer_calibration_keeps_what_it_has_no_word_on(learned: Calibration) -> None:
    newer = calibrate(collect(seen("hi", 2000, middle=5)))
    both = learned.renew(newer)
    assert both.bands == {"hi": newer.bands["hi"], "ta": learned.bands["ta"]}
    assert both.clips == {"hi": 2000, "ta": 2000}
    assert from_json(both.to_json()) == both
    assert NOTHING_LEARNED.renew(learned) == learned
