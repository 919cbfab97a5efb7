"""Split, trim and pad: from one segment to clips of 2 to 15 s. Pure; `polish_segment` is the way in.

Where to cut is decided on whole samples and exact sums of squares: the same input and `TRIMMER_VERSION` give
the same clips on every machine. Their bytes depend on the codecs' versions as well, which the lock file pins;
so a resumed video finds the answers it already paid for.

A segment without any sound is one long silence: its edges are clean and it is split like any other. Up to
10 s of it become one clip, which the model answers with NO_SPEECH.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lipika.audio.codec import (
    Audio,
    Samples,
    encode_flac,
    encode_ogg,
    encode_padded,
    encode_wav,
    resample_for_model,
    to_ms,
)
from lipika.audio.levels import (
    SNR_FRAME_MS,
    BinSums,
    cannot_be_speech,
    dbfs,
    energy,
    frame_power,
    mean_level,
    measure,
    power_of,
    top16,
)
from lipika.audio.recording import Recording, read
from lipika.errors import SegmentError
from lipika.models import Clip, Discard, Mishap, PolishedClip, SegmentName, SendFormat

TRIMMER_VERSION = "4"  # raise it with every change that can alter a clip

# Split
SPLIT_OVER_MS = 10_000  # shorter audio is never split
CUT_AFTER_MS = 7_000
CUT_UNTIL_MS = 15_000
FORCED_CUT_AFTER_MS = 10_000
MIN_PART_MS = 2_000
MIN_VALLEY_MS = 150

# Trim and pad
EDGE_MS = 50
MAX_TRIM_SHARE = 0.4  # of the part, on each side
PAD_MS = 150
MIN_PADDED_MS = 2_000

# Energy profile: a 25 ms window every 10 ms, both made of bins of 2.5 ms
BINS_PER_SECOND = 400
WINDOW_BINS = 10
HOP_BINS = 4
_SNR_FRAME_BINS = SNR_FRAME_MS * BINS_PER_SECOND // 1_000

# Silence is measured against the segment itself
NOISE_SHARE = 0.10  # a tenth of the segment is quieter than what is taken for its noise
SPEECH_SHARE = 0.95
SILENCE_POSITION = 0.3  # of the way up from noise to speech, in dB
BELOW_SPEECH_DB = (12.0, 35.0)  # nearer to speech nothing is silence, further below everything is
SILENCE_DBFS = (-70.0, -25.0)  # the same in absolute terms
DIRTY_ABOVE_SILENCE_DB = 6.0  # an edge louder than this cuts into sound

MISMATCH_MS = 250  # between the durations that name and samples state

TOO_SHORT = "too_short"
TRIMMED_TOO_SHORT = "trimmed_too_short"


@dataclass(frozen=True, slots=True)
class PolishedPart:
    """One piece of a segment, in samples: the split gave [start, end), trimming left [keep_start, keep_end)."""

    start: int
    end: int
    keep_start: int
    keep_end: int
    flags: tuple[str, ...] = ()
    boundary_score: float = 0.0
    speech_samples: int = 0
    discard: str | None = None  # reason code; the part gives no clip
    power: NDArray[np.float64] | None = field(
        default=None, compare=False, repr=False
    )  # in 30 ms of what is kept


@dataclass(frozen=True, slots=True)
class PolishedSegment:
    """The outcome of one segment. Without clips there is one discard, which stands for the whole of it."""

    clips: tuple[PolishedClip, ...]
    discards: tuple[Discard, ...]
    trouble: Mishap | None = None  # an exception of our own that it was discarded for


# ----------------------------------------------------------------------------- segment -> clips


def polish_segment(
    name: SegmentName, data: bytes, send_format: SendFormat = SendFormat.FLAC
) -> PolishedSegment:
    """Split, trim, pad and encode one segment.

    Offsets are counted in samples from the start that the name gives. Where the name's duration is off by
    more than 250 ms the samples are believed and every clip is flagged `duration_mismatch`.

    Samples are at hand for one part at a time where the segment is a long one.

    Raises:
        SegmentError: the audio cannot be decoded or encoded; the codes are those of `recording.read`.
    """
    try:
        recording = read(data)
        clips, discards = _polish_parts(name, recording, send_format)
    except SegmentError as error:
        raise SegmentError(error.code, f"{name.stem}: {error.message}") from error
    return PolishedSegment(clips, discards if clips else (_whole(name, recording, discards),))


def _polish_parts(
    name: SegmentName, recording: Recording, send_format: SendFormat
) -> tuple[tuple[PolishedClip, ...], tuple[Discard, ...]]:
    """The outcome of the parts."""
    mismatch = abs(recording.duration_ms - (name.end_ms - name.start_ms)) > MISMATCH_MS
    flags = recording.flags + (("duration_mismatch",) if mismatch else ())
    clips, discards = [], []
    for part, samples in _parts(recording):
        if part.discard is None:
            clips.append(_clip(name, recording, flags, send_format, part, samples))
        else:
            discards.append(_discard(name, recording.sample_rate_hz, part))
    return tuple(clips), tuple(discards)


def _parts(recording: Recording) -> Iterator[tuple[PolishedPart, Samples]]:
    """The parts, each with the samples that are kept of it."""
    rate = recording.sample_rate_hz
    if recording.is_short:
        samples = recording.whole().samples
        for part in plan(samples, rate):
            yield part, samples[part.keep_start : part.keep_end]
        return
    sums = BinSums(_bin_size(rate))
    for block in recording.blocks():
        sums.add(top16(block))
    mean = sums.mean()
    profile = _profile(np.empty(0, np.int16), sums.frames, mean, sums.energy(mean), rate)
    window = _Window(recording.blocks())
    for left, right in _stretches(profile):
        samples = window.samples_between(left.sample, right.sample)
        part = trim(replace(profile, samples=top16(samples), first=left.sample), left, right)
        yield part, samples[part.keep_start - left.sample : part.keep_end - left.sample]


class _Window:
    """Samples that come in blocks, given out by their place; only forward."""

    def __init__(self, blocks: Iterator[Samples]) -> None:
        self._blocks = blocks
        self._first = 0
        self._held: list[Samples] = []

    def samples_between(self, start: int, end: int) -> Samples:
        held = sum(map(len, self._held))
        while self._first + held < end:
            block = next(self._blocks)
            self._held.append(block)
            held += len(block)
        samples = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        part = samples[start - self._first : end - self._first]
        self._held, self._first = [samples[end - self._first :]], end
        return part


def _clip(
    name: SegmentName,
    recording: Recording,
    extra_flags: tuple[str, ...],
    send_format: SendFormat,
    part: PolishedPart,
    samples: Samples,
) -> PolishedClip:
    rate = recording.sample_rate_hz
    pad = samples_in(PAD_MS, rate)
    kept = recording.audio(samples)
    padded = add_pads(kept, pad)
    packed = encode_padded(padded, pad, recording.plain, part.keep_start)
    heard = resample_for_model(padded)
    sent = _encode_for_model(heard, send_format, packed if heard is padded else None)
    power = frame_power(kept) if part.power is None else part.power
    clip = Clip(
        name=_clip_name(name, part, rate),
        segment=name,
        original_start_ms=name.start_ms + to_ms(part.start, rate),
        original_end_ms=name.start_ms + to_ms(part.end, rate),
        trimmed_start_ms=name.start_ms + to_ms(part.keep_start, rate),
        trimmed_end_ms=name.start_ms + to_ms(part.keep_end, rate),
        leading_pad_ms=PAD_MS,
        trailing_pad_ms=PAD_MS,
        duration_ms=padded.duration_ms,
        sample_rate_hz=rate,
        bit_depth=recording.bit_depth,
        boundary_score=part.boundary_score,
        flags=part.flags + extra_flags,
        audio=measure(kept, to_ms(part.speech_samples, rate), power),
        audio_digest=sent_digest(heard, send_format),
        trimmer_version=TRIMMER_VERSION,
    )
    by_bytes = clip.audio_digest if send_format is SendFormat.OGG else hashlib.sha256(sent).hexdigest()
    return PolishedClip(clip, packed, sent, send_format, by_bytes, silent=cannot_be_speech(power))


def _encode_for_model(heard: Audio, send_format: SendFormat, packed: bytes | None) -> bytes:
    """The audio for the model; `packed` where that is the same audio."""
    if send_format is SendFormat.OGG:
        return encode_ogg(heard)
    if send_format is SendFormat.WAV:
        return encode_wav(heard)
    return packed if packed is not None else encode_flac(heard)


def sent_digest(heard: Audio, send_format: SendFormat) -> str:
    """SHA-256 over rate and samples of what the model hears, in whatever file they come and are sent; what is sent as
    Ogg is another sound.
    """
    lossy = send_format is SendFormat.OGG
    sha = hashlib.sha256(b"vorbis\0" if lossy else b"pcm %d\0" % heard.sample_rate_hz)
    sha.update(np.ascontiguousarray(heard.samples, "<i2").data)
    return sha.hexdigest()


def add_pads(audio: Audio, pad: int) -> Audio:
    """With `pad` samples of digital silence on each side."""
    samples = np.zeros(len(audio.samples) + 2 * pad, audio.samples.dtype)
    samples[pad:-pad] = audio.samples
    return replace(audio, samples=samples)


def _clip_name(name: SegmentName, part: PolishedPart, rate_hz: int) -> SegmentName:
    """Kept spans are over a second long and never overlap, so that no two clips share a name."""
    start_cs, end_cs = (
        name.start_cs + (sample * 200 + rate_hz) // (2 * rate_hz)
        for sample in (part.keep_start, part.keep_end)
    )
    return SegmentName(name.speaker, start_cs, end_cs)


def _discard(name: SegmentName, rate: int, part: PolishedPart) -> Discard:
    part_s, kept_s = (part.end - part.start) / rate, (part.keep_end - part.keep_start) / rate
    message = (
        f"{part_s:.2f} s long, under {MIN_PART_MS / 1000:g} s"
        if part.discard == TOO_SHORT
        else f"{part_s:.2f} s long, {kept_s:.2f} s after trimming: under {MIN_PADDED_MS / 1000:g} s even when padded"
    )
    return Discard(
        segment_file=f"{name.stem}.flac",
        reason=part.discard or "",
        message=message,
        whole_segment=False,
        start_ms=name.start_ms + to_ms(part.start, rate),
        end_ms=name.start_ms + to_ms(part.end, rate),
    )


def _whole(name: SegmentName, recording: Recording, parts: tuple[Discard, ...]) -> Discard:
    """One discard for a segment of which nothing is left."""
    return replace(
        parts[0],
        message="; ".join(part.message for part in parts),
        whole_segment=True,
        start_ms=name.start_ms,
        end_ms=name.start_ms + recording.duration_ms,
    )


# ----------------------------------------------------------------------------- samples -> plan


def samples_in(ms: int, rate_hz: int) -> int:
    """Milliseconds as the nearest number of samples, halves up."""
    return (ms * rate_hz + 500) // 1_000


def plan(samples: Samples, rate_hz: int) -> list[PolishedPart]:
    """Decide where to split and what to trim. The parts follow one another and cover all samples."""
    if len(samples) < samples_in(MIN_PART_MS, rate_hz):
        return [PolishedPart(0, len(samples), 0, len(samples), discard=TOO_SHORT)]
    profile = profile_of(top16(samples), rate_hz)
    return [trim(profile, left, right) for left, right in _stretches(profile)]


def _stretches(profile: Profile) -> Iterator[tuple[Cut, Cut]]:
    """The beginning and end of each part."""
    return pairwise((Cut(0), *split(profile), Cut(profile.frames)))


@dataclass(frozen=True, slots=True)
class Cut:
    """The place where one part ends and the next begins. `forced`: there was no silence to cut in."""

    sample: int
    forced: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The energy of a segment over time, and what counts as silence in it.

    Frame i begins at sample i * hop. Powers are mean squares around the DC offset, in 16-bit units. Of a long
    segment, `samples` are those of the part in hand.
    """

    samples: NDArray[np.int16]
    first: int  # which of the segment's samples they begin with
    frames: int  # samples of the whole segment
    rate_hz: int
    mean: int  # the DC offset
    bins: NDArray[np.int64]  # sums of squares
    hop: int  # samples
    power: NDArray[np.int64]  # of the 25 ms around each frame
    pause_frames: int  # the fewest that make a valley
    pause_power: NDArray[np.int64]  # sum over that many frames, from each one on
    silence_dbfs: float
    speech_dbfs: float
    valleys: NDArray[np.intp]  # shape (count, 2): first frame, frame after the last

    def ms(self, ms: int) -> int:
        return samples_in(ms, self.rate_hz)

    def edge_dbfs(self, start: int, end: int) -> float:
        """Level of the samples [start, end)."""
        samples = self.samples[start - self.first : end - self.first]
        return dbfs(int(energy(samples, self.mean, end - start)[0]) / (end - start))

    def speech_samples(self, start: int, end: int) -> int:
        """The number of samples in [start, end) that lie in frames above the silence threshold, to the frame."""
        first, last = ((sample + self.hop // 2) // self.hop for sample in (start, end))
        loud = np.count_nonzero(self.power[first:last] > power_of(self.silence_dbfs))
        return min(int(loud) * self.hop, end - start)

    def power_between(self, start: int, end: int) -> NDArray[np.float64]:
        """Mean squares of the samples [start, end) in frames of 30 ms, to the bin."""
        size = self.hop // HOP_BINS
        bins = self.bins[-(-start // size) : end // size]
        count = len(bins) // _SNR_FRAME_BINS
        frames = bins[: count * _SNR_FRAME_BINS].reshape(count, _SNR_FRAME_BINS).sum(axis=1)
        power: NDArray[np.float64] = frames / (size * _SNR_FRAME_BINS)
        return power

    def cut_points(self, after: int, until: int) -> list[int]:
        """The cut points of valleys, as far as they lie in (after, until]."""
        cuts = (self._quietest(first, last) for first, last in self._valleys(after, until))
        return [cut for cut in cuts if after < cut <= until]

    def cuts_within(self, after: int, until: int) -> list[int]:
        """One cut in (after, until] for each valley that has a valley's length of itself in there.

        A long silence may reach in with its middle outside: the piece inside then has a cut point of its own.
        """
        earliest, latest = -(-after // self.hop), until // self.hop
        cuts = []
        for first, last in self._valleys(after, until):
            cut = self._quietest(first, last)
            inside = max(first, earliest), min(last, latest)
            if after < cut <= until:
                cuts.append(cut)
            elif inside[1] - inside[0] >= self.pause_frames:
                cuts.append(self._quietest(*inside))
        return cuts

    def _valleys(self, start: int, end: int) -> list[tuple[int, int]]:
        """Valleys that have a sample in [start, end], in order."""
        low = np.searchsorted(self.valleys[:, 1] * self.hop, start, "right")
        high = np.searchsorted(self.valleys[:, 0] * self.hop, end, "right")
        return [(int(first), int(last)) for first, last in self.valleys[low:high]]

    def _quietest(self, first: int, last: int) -> int:
        """The sample in the middle of the quietest 150 ms of frames [first, last); among equals the middle one."""
        pauses = self.pause_power[first : last - self.pause_frames + 1]
        equals = np.flatnonzero(pauses == pauses.min())
        start = first + int(equals[len(equals) // 2])
        return (2 * start + self.pause_frames) * self.hop // 2


def profile_of(samples: NDArray[np.int16], rate_hz: int) -> Profile:
    """Measure a segment of at least 150 ms."""
    mean = mean_level(samples)
    return _profile(samples, len(samples), mean, energy(samples, mean, _bin_size(rate_hz)), rate_hz)


def _bin_size(rate_hz: int) -> int:
    return round(rate_hz / BINS_PER_SECOND)


def _profile(
    samples: NDArray[np.int16], frames: int, mean: int, bins: NDArray[np.int64], rate_hz: int
) -> Profile:
    """From what was summed up of all samples; there may be none of them at hand."""
    bin_size = _bin_size(rate_hz)
    hop = bin_size * HOP_BINS
    power = _window_means(bins, frames=-(-frames // hop)) // bin_size
    silence_dbfs, speech_dbfs = silence_levels(power)
    pause_frames = -(-samples_in(MIN_VALLEY_MS, rate_hz) // hop)
    total = _running_total(power)
    return Profile(
        samples=samples,
        first=0,
        frames=frames,
        rate_hz=rate_hz,
        mean=mean,
        bins=bins,
        hop=hop,
        power=power,
        pause_frames=pause_frames,
        pause_power=total[pause_frames:] - total[:-pause_frames],
        silence_dbfs=silence_dbfs,
        speech_dbfs=speech_dbfs,
        valleys=_runs(power <= power_of(silence_dbfs), pause_frames),
    )


def _running_total(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of the first 0, 1, 2 ... values."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(values)))


def _window_means(bins: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Mean of the bins in the window centred on each frame; at the ends, of those that exist."""
    total = _running_total(bins)
    first = np.arange(frames) * HOP_BINS - (WINDOW_BINS - HOP_BINS) // 2
    last = np.minimum(first + WINDOW_BINS, len(bins))
    first = np.maximum(first, 0)
    mean: NDArray[np.int64] = np.floor_divide(total[last] - total[first], last - first)
    return mean


def silence_levels(power: NDArray[np.int64]) -> tuple[float, float]:
    """Silence threshold and speech level of a segment, in dBFS."""
    ordered = np.sort(power)
    noise, speech = (
        dbfs(int(ordered[int(share * (len(power) - 1))])) for share in (NOISE_SHARE, SPEECH_SHARE)
    )
    nearest, furthest = BELOW_SPEECH_DB
    lowest, highest = SILENCE_DBFS
    silence = noise + SILENCE_POSITION * (speech - noise)
    silence = min(max(silence, speech - furthest), speech - nearest)
    return min(max(silence, lowest), highest), speech


def _runs(quiet: NDArray[np.bool_], shortest: int) -> NDArray[np.intp]:
    """Stretches of at least `shortest` True, as rows (first, after the last)."""
    framed = np.zeros(len(quiet) + 2, np.bool_)
    framed[1:-1] = quiet
    steps = np.flatnonzero(framed[1:] != framed[:-1]).reshape(-1, 2)
    return steps[steps[:, 1] - steps[:, 0] >= shortest]


def split(profile: Profile) -> Iterator[Cut]:
    """Walk over a segment and cut for as long as the rest is over 10 s."""
    start, end = 0, profile.frames
    while end - start > profile.ms(SPLIT_OVER_MS):
        cut = _next_cut(profile, start, end)
        if cut is None:
            return
        yield cut
        start = cut.sample


def _next_cut(profile: Profile, start: int, end: int) -> Cut | None:
    """The place to cut [start, end); None if it is to stay whole."""
    after, until = start + profile.ms(CUT_AFTER_MS), start + profile.ms(CUT_UNTIL_MS)
    cuts = profile.cut_points(after, until)
    if not cuts and end <= until:
        return None
    cuts = cuts or profile.cuts_within(after, until)
    if cuts:
        return Cut(cuts[0])  # of all cuts in silence the one that leaves the longest tail
    first = (start + profile.ms(FORCED_CUT_AFTER_MS)) // profile.hop + 1
    last = min(until, end - profile.ms(MIN_PART_MS)) // profile.hop  # the tail must not get too short
    quietest = first + int(np.argmin(profile.power[first:last]))
    return Cut(quietest * profile.hop + profile.hop // 2, forced=True)


def trim(profile: Profile, left: Cut, right: Cut) -> PolishedPart:
    """Move the dirty edges of a part inward into silence, or flag them."""
    start, end = left.sample, right.sample
    if end - start < profile.ms(MIN_PART_MS):
        return PolishedPart(start, end, start, end, discard=TOO_SHORT)
    edge, reach = profile.ms(EDGE_MS), int(MAX_TRIM_SHARE * (end - start))
    dirty_dbfs = profile.silence_dbfs + DIRTY_ABOVE_SILENCE_DB
    flags = ["forced_cut"] if left.forced or right.forced else []
    keep_start, keep_end = start, end
    if profile.edge_dbfs(start, start + edge) > dirty_dbfs:
        keep_start = next(iter(profile.cuts_within(start, start + reach)), start)
        flags += ["abrupt_start"] if keep_start == start else []
    if profile.edge_dbfs(end - edge, end) > dirty_dbfs:
        keep_end = next(reversed(profile.cuts_within(end - reach, end)), end)
        flags += ["abrupt_end"] if keep_end == end else []
    padded = keep_end - keep_start + 2 * profile.ms(PAD_MS)
    return PolishedPart(
        start=start,
        end=end,
        keep_start=keep_start,
        keep_end=keep_end,
        flags=tuple(flags),
        boundary_score=_boundary_score(profile, keep_start, keep_end),
        speech_samples=profile.speech_samples(keep_start, keep_end),
        discard=TRIMMED_TOO_SHORT if padded < profile.ms(MIN_PADDED_MS) else None,
        power=profile.power_between(keep_start, keep_end),
    )


def _boundary_score(profile: Profile, start: int, end: int) -> float:
    """Mean over both edges: 1 at or below the silence threshold, 0 at speech level, linear in dB between."""
    edge = profile.ms(EDGE_MS)
    span = max(profile.speech_dbfs - profile.silence_dbfs, BELOW_SPEECH_DB[0])
    over = (profile.edge_dbfs(first, first + edge) - profile.silence_dbfs for first in (start, end - edge))
    return round(sum(1 - min(max(level / span, 0.0), 1.0) for level in over) / 2, 3)
