"""Split, trim and pad: the plan on generated signals, and whole segments through real codecs."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lipika.audio.codec import Audio, Samples, decode, encode_flac, encode_wav, resample_for_model
from lipika.audio.levels import power_of
from lipika.audio.polish import (
    CUT_AFTER_MS,
    CUT_UNTIL_MS,
    FORCED_CUT_AFTER_MS,
    MAX_TRIM_SHARE,
    PAD_MS,
    TRIMMER_VERSION,
    PolishedPart,
    PolishedSegment,
    plan,
    polish_segment,
    profile_of,
    samples_in,
    sent_digest,
)
from lipika.errors import SegmentError
from lipika.models import PolishedClip, SegmentName, SendFormat

RATE = 16_000


@dataclass(frozen=True)
class Stretch:
    """`ms` of sound at a level: speech is noise in syllables of 125 ms, anything else is steady noise."""

    ms: int
    dbfs: float = -20.0
    speech: bool = True


def pause(ms: int, dbfs: float = -65.0) -> Stretch:
    return Stretch(ms, dbfs, speech=False)


def talk(ms: int) -> Stretch:
    return Stretch(ms)


def signal(*stretches: Stretch, rate: int = RATE, seed: int = 0, dc: int = 0) -> NDArray[np.int16]:
    random = np.random.default_rng(seed)
    pieces = []
    for stretch in stretches:
        frames = samples_in(stretch.ms, rate)
        wave = random.normal(0, 32_768 * 10 ** (stretch.dbfs / 20), frames)
        if stretch.speech:
            wave *= 0.8 + 0.2 * np.sin(2 * np.pi * 8 * np.arange(frames) / rate)
        pieces.append(wave)
    clipped: NDArray[np.float64] = np.clip(np.rint(np.concatenate(pieces)) + dc, -32_768, 32_767)
    return clipped.astype(np.int16)


def flac(samples: Samples, rate: int = RATE, depth: int = 16) -> bytes:
    return encode_flac(Audio(samples, rate, depth))


def named(seconds: float, start_cs: int = 0) -> SegmentName:
    return SegmentName("speaker0", start_cs, start_cs + round(seconds * 100))


def polish(samples: Samples, rate: int = RATE, start_cs: int = 0) -> PolishedSegment:
    return polish_segment(named(len(samples) / rate, start_cs), flac(samples, rate))


def only(result: PolishedSegment) -> PolishedClip:
    (clip,) = result.clips
    return clip


def seconds(part: PolishedPart, rate: int = RATE) -> tuple[float, float]:
    return part.start / rate, part.end / rate


# ----------------------------------------------------------------------------- properties of every plan

stretches = st.one_of(
    st.builds(talk, st.integers(40, 17_000)),
    st.builds(pause, st.integers(20, 2_500), st.sampled_from([-45.0, -65.0, -90.0, -200.0])),
    st.builds(Stretch, st.integers(200, 9_000), st.floats(-60, -6), st.booleans()),
)
signals = st.builds(
    lambda pieces, rate, seed, dc: (signal(*pieces, rate=rate, seed=seed, dc=dc), rate),
    st.lists(stretches, min_size=1, max_size=8),
    st.sampled_from([8_000, 11_025, 16_000]),
    st.integers(0, 1_000),
    st.sampled_from([0, 0, 0, -3_000, 900]),
)


def silent_runs(samples: NDArray[np.int16], rate: int) -> list[tuple[int, int]]:
    """Valleys worked out anew, one window at a time, as sample spans."""
    profile = profile_of(samples, rate)
    bins = profile.hop // 4
    centred = samples.astype(np.int64) - profile.mean
    whole = len(samples) // bins * bins
    quiet = []
    for start in range(0, len(samples), profile.hop):
        window = centred[max(0, start - 3 * bins) : min(start + 7 * bins, whole)]
        quiet.append(int((window**2).sum()) // len(window) <= power_of(profile.silence_dbfs))
    runs = [(key, list(group)) for key, group in groupby(enumerate(quiet), key=lambda item: item[1])]
    spans = [(group[0][0] * profile.hop, (group[-1][0] + 1) * profile.hop) for key, group in runs if key]
    return [(start, end) for start, end in spans if end - start >= 0.15 * rate]


def holds(runs: list[tuple[int, int]], cut: int) -> bool:
    """Whether a cut lies in a valley, at least about 75 ms from where it begins and ends."""
    return any(start < cut < end for start, end in runs)


@settings(max_examples=80, deadline=None)
@given(signals)
def test_no_sample_is_lost_or_doubled(case: tuple[NDArray[np.int16], int]) -> None:
    samples, rate = case
    parts = plan(samples, rate)
    assert (parts[0].start, parts[-1].end) == (0, len(samples))
    assert all(left.end == right.start for left, right in pairwise(parts))
    for part in parts:
        assert part.start <= part.keep_start < part.keep_end <= part.end
        most = MAX_TRIM_SHARE * (part.end - part.start)
        assert part.keep_start - part.start <= most
        assert part.end - part.keep_end <= most
        assert 0 <= part.speech_samples <= part.keep_end - part.keep_start
        assert 0 <= part.boundary_score <= 1


@settings(max_examples=80, deadline=None)
@given(signals)
def test_lengths_follow_the_rules(case: tuple[NDArray[np.int16], int]) -> None:
    samples, rate = case
    parts = plan(samples, rate)
    for part in parts:
        length, kept = part.end - part.start, part.keep_end - part.keep_start
        trimmed = kept < length
        if length < 2 * rate:
            assert part.discard == "too_short"
            assert not trimmed
        elif kept + 2 * samples_in(PAD_MS, rate) < 2 * rate:
            assert part.discard == "trimmed_too_short"
            assert trimmed
        else:
            assert part.discard is None
            assert length <= 15 * rate
            assert trimmed or kept >= 2 * rate
    for part in parts[:-1]:
        assert part.end - part.start > 7 * rate


@settings(max_examples=80, deadline=None)
@given(signals)
def test_cuts_lie_in_valleys_where_the_window_holds_one(case: tuple[NDArray[np.int16], int]) -> None:
    samples, rate = case
    parts = plan(samples, rate)
    runs = silent_runs(samples, rate) if len(samples) >= 2 * rate else []
    for part, after in pairwise(parts):
        low, high = part.start + samples_in(CUT_AFTER_MS, rate), part.start + samples_in(CUT_UNTIL_MS, rate)
        if holds(runs, part.end):
            continue
        assert "forced_cut" in part.flags
        assert after.discard or "forced_cut" in after.flags
        assert len(samples) - part.start > samples_in(CUT_UNTIL_MS, rate)
        assert part.end >= part.start + samples_in(FORCED_CUT_AFTER_MS, rate)
        assert len(samples) - part.end >= 2 * rate
        hop = profile_of(samples, rate).hop
        reach = [min(end, high // hop * hop) - max(start, -(-low // hop) * hop) for start, end in runs]
        assert all(length < 0.15 * rate for length in reach)
    whole = parts[-1].end - parts[-1].start
    assert whole <= 15 * rate


@settings(max_examples=80, deadline=None)
@given(signals)
def test_trimmed_edges_lie_in_valleys_and_the_rest_is_flagged(case: tuple[NDArray[np.int16], int]) -> None:
    samples, rate = case
    if len(samples) < 2 * rate:
        return
    profile, runs, edge = profile_of(samples, rate), silent_runs(samples, rate), samples_in(50, rate)
    dirty = profile.silence_dbfs + 6
    for part in plan(samples, rate):
        if part.discard == "too_short":
            continue
        for name, at, moved, level in (
            ("abrupt_start", part.keep_start, part.keep_start > part.start, (part.start, part.start + edge)),
            ("abrupt_end", part.keep_end, part.keep_end < part.end, (part.end - edge, part.end)),
        ):
            was_dirty = profile.edge_dbfs(*level) > dirty
            assert (moved or name in part.flags) == was_dirty
            assert not (moved and name in part.flags)
            assert not moved or holds(runs, at)


@settings(max_examples=25, deadline=None)
@given(signals, st.integers(0, 99_999))
@example((signal(talk(25_000), pause(400), talk(9_000), rate=22_050), 22_050), 123)
def test_clips_hold_exactly_the_samples_they_say(case: tuple[NDArray[np.int16], int], start_cs: int) -> None:
    samples, rate = case
    result = polish(samples, rate, start_cs)
    kept = [part for part in plan(samples, rate) if part.discard is None]
    assert len(result.clips) == len(kept)
    pad = samples_in(PAD_MS, rate)
    for polished, part in zip(result.clips, kept, strict=True):
        audio = decode(polished.packed)
        np.testing.assert_array_equal(audio.samples[pad:-pad], samples[part.keep_start : part.keep_end])
        assert not audio.samples[:pad].any()
        assert not audio.samples[-pad:].any()
        assert polished.clip.duration_ms == audio.duration_ms
    assert len({polished.clip.name for polished in result.clips}) == len(result.clips)
    spans = [(polished.clip.original_start_ms, polished.clip.original_end_ms) for polished in result.clips]
    spans += [(lost.start_ms or 0, lost.end_ms or 0) for lost in result.discards]
    spans.sort()
    assert spans[0][0] == start_cs * 10
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    assert abs(spans[-1][1] - start_cs * 10 - len(samples) * 1000 / rate) <= 1


# ----------------------------------------------------------------------------- split


def test_ten_seconds_stay_whole_whatever_is_in_them() -> None:
    assert len(plan(signal(talk(7_500), pause(500), talk(2_000)), RATE)) == 1


def test_a_longer_segment_is_cut_at_the_first_valley_after_seven_seconds() -> None:
    samples = signal(talk(5_000), pause(400), talk(2_600), pause(400), talk(2_000), pause(400), talk(3_000))
    first, second = plan(samples, RATE)
    assert seconds(first)[1] == pytest.approx(8.2, abs=0.13)
    assert (first.flags, second.flags) == (("abrupt_start",), ("abrupt_end",))


def test_the_cut_is_in_the_quietest_part_of_the_valley() -> None:
    samples = signal(talk(8_000), pause(300, -50), pause(200, -75), pause(300, -50), talk(5_000))
    assert plan(samples, RATE)[0].end == pytest.approx(8.4 * RATE, abs=0.03 * RATE)


def test_in_digital_silence_the_cut_is_in_the_middle() -> None:
    samples = signal(talk(8_000), pause(1_000, -200), talk(4_000))
    assert plan(samples, RATE)[0].end == pytest.approx(8.5 * RATE, abs=0.01 * RATE)


@pytest.mark.parametrize(("before", "parts"), [(6_800, 1), (7_100, 2)])
def test_a_valley_counts_by_its_cut_point(before: int, parts: int) -> None:
    samples = signal(talk(before - 100), pause(200), talk(12_000 - before))
    assert len(plan(samples, RATE)) == parts


def test_fifteen_seconds_without_a_valley_stay_whole() -> None:
    (part,) = plan(signal(talk(15_000)), RATE)
    assert part.flags == ("abrupt_start", "abrupt_end")
    assert part.discard is None


def test_more_than_fifteen_seconds_without_a_valley_are_cut_at_the_lowest_energy() -> None:
    """A dip of 100 ms is too short for a valley, but the best there is."""
    samples = signal(talk(5_000), pause(100), talk(7_900), pause(100), talk(9_900))
    first, second = plan(samples, RATE)
    assert first.end / RATE == pytest.approx(13.05, abs=0.06)
    assert "forced_cut" in first.flags
    assert "forced_cut" in second.flags


def test_a_forced_cut_leaves_a_tail_that_is_long_enough() -> None:
    samples = signal(talk(14_000), pause(100), talk(1_200))
    first, second = plan(samples, RATE)
    assert 10 * RATE <= first.end <= len(samples) - 2 * RATE
    assert second.discard is None


def test_a_tail_under_two_seconds_is_discarded_and_recorded() -> None:
    samples = signal(talk(9_000), pause(400), talk(1_500))
    result = polish(samples, start_cs=5_000)
    (discard,) = result.discards
    assert (discard.reason, discard.whole_segment, discard.segment_file) == (
        "too_short",
        False,
        "speaker0_05000_06090.flac",
    )
    assert discard.start_ms == only(result).clip.original_end_ms == pytest.approx(59_200, abs=130)
    assert discard.end_ms == 60_900
    assert discard.message.endswith("s long, under 2 s")


def test_a_long_silence_that_straddles_the_window_is_cut_inside_it() -> None:
    """Its own middle lies after 15 s; cutting speech between 10 and 15 s would be worse."""
    first, second = plan(signal(talk(14_500), pause(3_000), talk(4_000)), RATE)
    assert 14.5 < first.end / RATE <= 15
    assert "forced_cut" not in first.flags
    assert second.flags == ("abrupt_end",)


# ----------------------------------------------------------------------------- trim and pad


def test_clean_edges_are_left_alone() -> None:
    samples = signal(pause(200), talk(4_000), pause(200))
    (part,) = plan(samples, RATE)
    assert (part.keep_start, part.keep_end, part.flags) == (0, len(samples), ())
    assert part.boundary_score == 1
    assert part.speech_samples == pytest.approx(4 * RATE, rel=0.02)


def test_dirty_edges_are_trimmed_into_the_nearest_valley() -> None:
    samples = signal(talk(600), pause(400), talk(5_000), pause(300), talk(700))
    (part,) = plan(samples, RATE)
    assert part.keep_start == pytest.approx(0.8 * RATE, abs=0.13 * RATE)
    assert part.keep_end == pytest.approx(6.15 * RATE, abs=0.08 * RATE)
    assert part.flags == ()
    assert part.boundary_score == 1


def test_no_more_is_trimmed_than_up_to_the_first_valley() -> None:
    pieces = (talk(600), pause(300), talk(600), pause(300), talk(3_000))
    (part,) = plan(signal(*pieces, *reversed(pieces)), RATE)
    assert part.keep_start / RATE == pytest.approx(0.75, abs=0.08)
    assert (part.end - part.keep_end) / RATE == pytest.approx(0.75, abs=0.08)


def test_a_valley_further_in_than_forty_percent_is_out_of_reach() -> None:
    samples = signal(talk(2_500), pause(400), talk(3_100))
    (part,) = plan(samples, RATE)
    assert (part.keep_start, part.keep_end) == (0, len(samples))
    assert part.flags == ("abrupt_start", "abrupt_end")
    assert part.boundary_score < 0.3


def test_one_dirty_edge_is_flagged_alone_and_halves_the_score() -> None:
    (part,) = plan(signal(pause(300), talk(5_000)), RATE)
    assert part.flags == ("abrupt_end",)
    assert part.boundary_score == pytest.approx(0.5, abs=0.15)


def test_what_trimming_makes_too_short_is_discarded_whole() -> None:
    samples = signal(talk(600), pause(300), talk(1_200))
    result = polish(samples, start_cs=1_000)
    (discard,) = result.discards
    assert result.clips == ()
    assert (discard.reason, discard.whole_segment) == ("trimmed_too_short", True)
    assert (discard.start_ms, discard.end_ms) == (10_000, 12_100)
    assert "after trimming: under 2 s even when padded" in discard.message


def test_trimming_below_two_seconds_is_fine_while_the_padded_clip_is_not() -> None:
    clip = only(polish(signal(talk(400), pause(300), talk(1_700), pause(100)))).clip
    assert clip.trimmed_end_ms - clip.trimmed_start_ms < 2_000 <= clip.duration_ms


def test_a_dc_offset_changes_nothing() -> None:
    pieces = (talk(600), pause(400), talk(9_000), pause(300), talk(7_000))
    assert plan(signal(*pieces), RATE) == plan(signal(*pieces, dc=4_000), RATE)


def test_loudness_changes_nothing() -> None:
    loud = signal(talk(600), pause(400), talk(9_000), pause(300), talk(7_000))
    parts, halved = plan(loud, RATE), plan((loud // 2).astype(np.int16), RATE)
    assert [seconds(part) for part in parts] == [pytest.approx(seconds(part), abs=0.02) for part in halved]
    assert [part.flags for part in parts] == [part.flags for part in halved]


# ----------------------------------------------------------------------------- what a clip says about itself


def test_every_field_of_a_clip() -> None:
    samples = signal(pause(300), talk(3_000), pause(300), talk(500))
    polished = only(polish(samples, start_cs=1_234))
    clip = polished.clip
    assert clip.segment == SegmentName("speaker0", 1_234, 1_644)
    assert (clip.original_start_ms, clip.original_end_ms) == (12_340, 16_440)
    assert clip.trimmed_start_ms == 12_340
    assert clip.trimmed_end_ms == pytest.approx(15_790, abs=80)
    assert clip.name == SegmentName("speaker0", 1_234, (clip.trimmed_end_ms + 5) // 10)
    assert (clip.leading_pad_ms, clip.trailing_pad_ms) == (150, 150)
    assert clip.duration_ms == clip.trimmed_end_ms - clip.trimmed_start_ms + 300
    assert (clip.sample_rate_hz, clip.bit_depth) == (RATE, 16)
    assert (clip.flags, clip.boundary_score, clip.trimmer_version) == ((), 1.0, TRIMMER_VERSION)
    heard = decode(polished.sent).samples.astype("<i2").tobytes()
    assert clip.audio_digest == hashlib.sha256(b"pcm 16000\0" + heard).hexdigest()
    assert polished.other_digest == hashlib.sha256(polished.sent).hexdigest()
    assert clip.audio.speech_ms == pytest.approx(3_000, abs=40)
    assert -25 < clip.audio.rms_dbfs < -19


@pytest.mark.parametrize(
    ("named_s", "flags"),
    [(5.0, ()), (5.25, ()), (4.74, ("duration_mismatch",)), (9.0, ("duration_mismatch",))],
)
def test_a_name_that_disagrees_with_the_samples_is_flagged(named_s: float, flags: tuple[str, ...]) -> None:
    samples = signal(pause(200), talk(4_600), pause(200))
    clip = only(polish_segment(named(named_s, 700), flac(samples))).clip
    assert clip.flags == flags
    assert (clip.trimmed_start_ms, clip.trimmed_end_ms) == (7_000, 12_000)
    assert clip.name == SegmentName("speaker0", 700, 1_200)


def test_names_carry_the_speaker_and_long_times() -> None:
    samples = signal(pause(200), talk(4_000), pause(200))
    name = SegmentName("guest_2", 1_234_567, 1_235_007)
    assert only(polish_segment(name, flac(samples))).clip.name.stem == "guest_2_1234567_1235007"


# ----------------------------------------------------------------------------- formats


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("depth", [8, 16, 24])
def test_packed_keeps_rate_and_depth_from_16_bits_on_and_sent_is_16_khz_16_bit(rate: int, depth: int) -> None:
    shape = signal(pause(200), talk(2_500), pause(200), rate=rate)
    samples = {8: shape & -256, 16: shape, 24: shape.astype(np.int32) << 16}[depth]
    polished = only(polish_segment(named(2.9), flac(samples, rate, depth)))
    packed, sent = decode(polished.packed), decode(polished.sent)
    pad = samples_in(PAD_MS, rate)
    np.testing.assert_array_equal(packed.samples[pad:-pad], samples)
    assert (packed.sample_rate_hz, packed.bit_depth) == (rate, max(depth, 16))
    assert (polished.clip.sample_rate_hz, polished.clip.bit_depth) == (rate, max(depth, 16))
    assert (sent.sample_rate_hz, sent.bit_depth) == (16_000, 16)
    assert sent.duration_ms == packed.duration_ms == 3_200
    assert not sent.samples[:2_000].any()
    assert (polished.sent is polished.packed) == (rate == 16_000 and depth != 24)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_same_samples_are_the_same_audio_in_whatever_file_they_come(rate: int) -> None:
    samples = signal(pause(200), talk(3_000), pause(200), rate=rate)
    audio = Audio(samples, rate, 16)
    packed_anew = io.BytesIO()
    soundfile.write(packed_anew, samples, rate, format="FLAC", subtype="PCM_16", compression_level=1.0)
    twins = [encode_flac(audio), encode_wav(audio), packed_anew.getvalue()]
    assert len(set(twins)) == 3
    made = [only(polish_segment(named(3.4), data)) for data in twins]
    made.append(only(polish_segment(named(3.4), twins[0], SendFormat.WAV)))
    assert len({one.clip.audio_digest for one in made}) == 1
    exported = resample_for_model(decode(made[0].packed))
    assert sent_digest(exported, SendFormat.FLAC) == made[0].clip.audio_digest


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_ogg_is_sent_and_flac_is_packed(rate: int) -> None:
    data = flac(signal(pause(200), talk(14_000), pause(200), rate=rate), rate)
    plain = polish_segment(named(14.4), data)
    once, twice = (polish_segment(named(14.4), data, SendFormat.OGG) for _ in range(2))
    for as_flac, one, other in zip(plain.clips, once.clips, twice.clips, strict=True):
        assert one.packed == as_flac.packed
        assert (one.sent[:4], one.sent_format) == (b"OggS", "ogg")
        assert one.sent != other.sent, "the serial number of an Ogg is random ..."
        assert one.clip.audio_digest == other.clip.audio_digest, "... and must not matter"
        assert one.clip.audio_digest != as_flac.clip.audio_digest, "another sound for the model"
        heard, meant = decode(one.sent), decode(as_flac.sent)
        assert (heard.sample_rate_hz, len(heard.samples)) == (16_000, len(meant.samples))
        error = heard.samples.astype(float) - meant.samples
        assert np.square(error).mean() < 0.25 * np.square(meant.samples.astype(float)).mean()


def test_stereo_is_one_voice() -> None:
    left, right = (
        signal(pause(200), talk(3_000), pause(200)),
        signal(pause(200), talk(3_000), pause(200), seed=1),
    )
    file = io.BytesIO()
    soundfile.write(file, np.stack((left, right), axis=1), RATE, format="FLAC", subtype="PCM_16")
    polished = only(polish_segment(named(3.4), file.getvalue()))
    mean = (left.astype(int) + right + 1) // 2
    np.testing.assert_array_equal(decode(polished.packed).samples[2_400:-2_400], mean)
    assert polished.sent is polished.packed


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")],
)
def test_other_containers_work_too(container: str, subtype: str) -> None:
    file = io.BytesIO()
    samples = signal(pause(300), talk(3_000), pause(300)) / 32_768
    soundfile.write(file, samples, RATE, format=container, subtype=subtype)
    clip = only(polish_segment(named(3.6), file.getvalue())).clip
    assert clip.flags == ()
    assert clip.bit_depth == (24 if subtype == "FLOAT" else 16)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_audio"),
        (b"no audio at all", "bad_audio"),
        (flac(signal(talk(3_000)))[:-4_000], "bad_audio"),
    ],
)
def test_what_cannot_be_decoded_is_an_error_that_names_the_segment(data: bytes, code: str) -> None:
    with pytest.raises(SegmentError, match=r"^speaker0_00700_01000: ") as caught:
        polish_segment(named(3.0, 700), data)
    assert caught.value.code == code


# ----------------------------------------------------------------------------- odd material


@pytest.mark.parametrize("level", [0, 1_000, -32_768])
@pytest.mark.parametrize("length_s", [2, 8, 10])
def test_a_silent_segment_is_one_clip_with_clean_edges(length_s: int, level: int) -> None:
    polished = only(polish(np.full(length_s * RATE, level, np.int16)))
    clip = polished.clip
    assert (clip.flags, clip.boundary_score, clip.audio.speech_ms) == ((), 1.0, 0)
    assert clip.trimmed_end_ms - clip.trimmed_start_ms == length_s * 1_000


@pytest.mark.parametrize("length_s", [12, 20, 60])
def test_a_long_silence_is_split_without_force(length_s: int) -> None:
    parts = plan(np.zeros(length_s * RATE, np.int16), RATE)
    assert all(part.flags == () and part.discard is None for part in parts)
    assert all(2 * RATE <= part.end - part.start <= 15 * RATE for part in parts)


@pytest.mark.parametrize("length_ms", [1, 10, 700, 1_999])
def test_less_than_two_seconds_are_discarded_whole(length_ms: int) -> None:
    result = polish(signal(talk(length_ms)))
    (discard,) = result.discards
    assert result.clips == ()
    assert (discard.reason, discard.whole_segment) == ("too_short", True)
    assert (discard.start_ms, discard.end_ms) == (0, length_ms)


def test_exactly_two_seconds_are_a_clip() -> None:
    assert only(polish(signal(pause(200), talk(1_600), pause(200)))).clip.duration_ms == 2_300


@pytest.mark.parametrize("rate", [8_000, 48_000])
@pytest.mark.parametrize("level", [-60.0, -20.0, 0.0])
def test_steady_noise_has_no_valleys(level: float, rate: int) -> None:
    parts = plan(signal(Stretch(40_000, level, speech=False), rate=rate), rate)
    assert len(parts) in (3, 4)
    assert all("forced_cut" in part.flags and part.discard is None for part in parts)


HOUR = 3_600_000


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(3_600 * 8_000, np.int16),
        np.random.default_rng(0).integers(-3_000, 3_000, 3_600 * 8_000, np.int16),
        np.tile(signal(talk(6_000), pause(500), talk(3_000), pause(150), talk(350), rate=8_000), 360),
        np.tile(signal(talk(170), pause(200), rate=8_000), HOUR // 370),
    ],
    ids=["silence", "noise", "speech", "stutter"],
)
def test_an_hour_is_planned_like_a_minute(samples: NDArray[np.int16]) -> None:
    parts = plan(samples, 8_000)
    assert (parts[0].start, parts[-1].end) == (0, len(samples))
    assert 240 <= len(parts) <= 515
    assert all(part.end - part.start <= 15 * 8_000 for part in parts)


# ----------------------------------------------------------------------------- the same every time

DIGESTS = """
import hashlib, sys
from lipika.models import SegmentName
from lipika.audio.polish import polish_segment
data = sys.stdin.buffer.read()
for polished in polish_segment(SegmentName("speaker0", 0, 3150), data).clips:
    print(polished.clip, hashlib.sha256(polished.packed).hexdigest())
"""


def test_another_process_makes_the_same_clips() -> None:
    data = flac(signal(talk(9_000), pause(500), talk(12_000), pause(300), talk(9_700), rate=44_100), 44_100)
    printed = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            input=data,
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    here = polish_segment(SegmentName("speaker0", 0, 3_150), data).clips
    assert len(here) == 3
    assert printed == {
        "".join(
            f"{polished.clip} {hashlib.sha256(polished.packed).hexdigest()}\n" for polished in here
        ).encode()
    }


def test_threads_make_the_same_clips() -> None:
    sources = [flac(signal(talk(9_000), pause(500), talk(8_000), seed=seed)) for seed in range(4)]
    name = named(17.5)
    expected = [polish_segment(name, data) for data in sources]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda data: polish_segment(name, data), sources * 5)) == expected * 5
