"""Any audio as a stream of samples, at the file's own rate: memory follows the block and not the hour.

WAV by ourselves, whatever its header says of its length; what libsndfile reads (FLAC, AIFF, CAF, Ogg, MP3, ...) by
that; everything else by FFmpeg's libraries (`media`, an extra). WAV and FLAC are exact, up to the 24 bits that are
kept; lossy codecs have 16 bits. What libsndfile and FFmpeg both read is libsndfile's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, BinaryIO

import numpy as np
import soundfile

from lipika.audio.containers import mp3_starts, ogg_spans
from lipika.audio.decoders import Samples, SoundStream
from lipika.audio.recording import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from lipika.errors import PackingError, SegmentError
from lipika.packing.items import AudioPlace
from lipika.packing.media import MediaTrack
from lipika.packing.places import FileBytes, open_place, part_of, patient_part, size_of
from lipika.packing.wav import WavForm, find_wav, float_samples, wav_blocks

BLOCK_FRAMES = 1 << 16  # given at a time, at most

_READ_VALUES = 1 << 18  # decoded at a time, over all channels
_FRAMES_UNKNOWN = 1 << 62  # libsndfile reports more than this for a stream whose header states no length
_NARROW = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16}
_WIDE = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32")
_INTEGER = (*_NARROW, "PCM_24", "PCM_32", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32")
_MOST_LINKS = 1 << 12
_UNREAD = (soundfile.LibsndfileError, SegmentError, PackingError, RuntimeError, ValueError)


@dataclass(slots=True)
class AudioStream:
    """A recording that is being read, forward and once.

    `frames` is what the header says, never to be trusted. `notes` are sentences for a person about what was found
    odd, complete when the blocks have come to their end.
    """

    name: str
    codec: str  # pcm, flac, vorbis, aac, ...
    rate: int
    channels: int
    depth: int  # 16: int16; 24: the upper bits of int32
    frames: int | None
    notes: list[str]
    given: int = 0  # frames so far
    _source: Iterator[Samples] = field(default_factory=lambda: iter(()), repr=False)

    @property
    def seconds(self) -> float | None:
        """Its length, as the header says."""
        return None if self.frames is None else self.frames / self.rate

    def blocks(self, frames: int = BLOCK_FRAMES) -> Iterator[Samples]:
        """At most `frames` at a time, of shape (frames, channels): int16, or left-justified int32.

        Raises:
            PackingError: `damaged_audio`, `bad_samples`, `form_changes`, at the place where that is met: what came
                before is sound. `empty_audio`: there was nothing.
        """
        for block in self._source:
            for at in range(0, len(block), frames):
                self.given += len(block[at : at + frames])
                yield block[at : at + frames]
        if not self.given:
            raise PackingError("empty_audio", f"{self.name} holds no audio: 0 samples")
        if self.frames and abs(self.given - self.frames) > self.rate:
            said, found = self.frames / self.rate, self.given / self.rate
            self.notes.append(f"its header says {said:.1f} s, and there are {found:.1f} s")


@contextmanager
def open_audio(place: AudioPlace, track: int = 0, file: BinaryIO | None = None) -> Iterator[AudioStream]:
    """Open a recording; `track` counts the audio tracks of a film from 0. `file` is the bytes of a URL, fetched.

    Raises:
        PackingError: `missing_file`, `unreadable_file`, `not_local`, `empty_file`; `not_audio`, `no_audio_track`,
            `no_such_track`, `no_decoder`, `needs_media`, `protected_audio`, `bad_audio`, `empty_audio`;
            `unsupported_audio`: a sample rate or number of channels that lipika does not take.
    """
    name = place.place or "the recording"
    with ExitStack() as stack:
        file = (
            stack.enter_context(open_place(place))
            if file is None
            else part_of(file, place.offset, place.size)
        )
        if not size_of(file):
            raise PackingError("empty_file", f"{name} is empty: 0 bytes")
        stream = _open_any(name, file, track, stack)
        if not MIN_RATE_HZ <= stream.rate <= MAX_RATE_HZ:
            message = f"{name}: {stream.rate} Hz is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
            raise PackingError("unsupported_audio", message)
        if stream.channels > MAX_CHANNELS:
            message = f"{name}: {stream.channels} channels are more than {MAX_CHANNELS}"
            raise PackingError("unsupported_audio", message)
        yield stream


def _open_any(name: str, file: BinaryIO, track: int, stack: ExitStack) -> AudioStream:
    """By the first that reads it."""
    if track == 0:
        wav = find_wav(file)
        if wav is not None:
            return _wav(name, file, wav)
        sound = _sound(name, file, stack)
        if sound is not None:
            return sound
    file.seek(0)
    media = MediaTrack.open(name, file, track)
    return AudioStream(
        name,
        media.codec,
        media.rate,
        media.channels,
        media.depth,
        media.frames,
        media.notes,
        _source=media.blocks(),
    )


# ----------------------------------------------------------------------------- WAV


def _wav(name: str, file: BinaryIO, first: WavForm) -> AudioStream:
    """With those that follow it in the file."""
    forms, whole = [first], size_of(file)
    while forms[-1].end + 44 <= whole and len(forms) < _MOST_LINKS:
        link = find_wav(file, forms[-1].end)
        if link is None:
            break
        forms.append(link)
    _demand_one_form(name, [(form.rate, form.channels, form.bits > 16) for form in forms])
    frames = max(_READ_VALUES // first.channels, 1)
    return AudioStream(
        name=name,
        codec="float" if first.floating else "pcm",
        rate=first.rate,
        channels=first.channels,
        depth=24 if first.bits > 16 else 16,
        frames=first.stated if len(forms) == 1 else None,
        notes=[],
        _source=chain.from_iterable(wav_blocks(file, form, frames) for form in forms),
    )


def _demand_one_form(name: str, forms: Sequence[tuple[int, int, bool]]) -> None:
    if len(set(forms)) > 1:
        parts = " and ".join(
            f"{rate} Hz with {channels} channels" for rate, channels, _ in sorted(set(forms))
        )
        message = (
            f"{name}: recordings of {parts} follow one another in the file: decode it and encode it as one"
        )
        raise PackingError("form_changes", message)


# ----------------------------------------------------------------------------- libsndfile


@dataclass(frozen=True, slots=True)
class _SoundForm:
    """The form of what libsndfile reads."""

    rate: int
    channels: int
    form: str
    subtype: str
    frames: int | None  # as stated

    @property
    def wide(self) -> bool:
        return self.subtype in _WIDE

    @property
    def codec(self) -> str:
        if self.form == "FLAC":
            return "flac"
        return "pcm" if self.subtype in _INTEGER else self.subtype.lower()


def _sound(name: str, file: BinaryIO, stack: ExitStack) -> AudioStream | None:
    """As libsndfile reads it; None where it does not, not even the beginning."""
    try:
        parts = [part_of(file, start, end - start) for start, end in _spans(file)]
        forms = [_sound_form(part) for part in parts]
        stream = stack.enter_context(_open_sound(parts[0]))
        first = _read(stream, forms[0])
    except _UNREAD:
        return None
    _demand_one_form(name, [(form.rate, form.channels, form.wide) for form in forms])
    notes: list[str] = []
    blocks = [_sound_blocks(_Source(name, parts[0], forms[0], notes), stream, len(first))]
    blocks += [
        _link_blocks(_Source(name, part, form, notes))
        for part, form in zip(parts[1:], forms[1:], strict=True)
    ]
    lengths = [form.frames for form in forms if form.frames is not None]
    return AudioStream(
        name=name,
        codec=forms[0].codec,
        rate=forms[0].rate,
        channels=forms[0].channels,
        depth=24 if forms[0].wide else 16,
        frames=sum(lengths) if len(lengths) == len(forms) else None,
        notes=notes,
        _source=chain([first], *blocks),
    )


def _spans(file: BinaryIO) -> list[tuple[int, int]]:
    """The places of the recordings that follow one another in an Ogg or MP3: libsndfile reads the first alone."""
    data = FileBytes(file)
    head = data[:4]
    if head == b"OggS":
        return ogg_spans(data)
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)):
        return list(pairwise((*mp3_starts(data), len(data))))
    return [(0, len(data))]


@contextmanager
def _open_sound(file: BinaryIO) -> Iterator[SoundStream]:
    with SoundStream(patient_part(file, 0, size_of(file))) as stream:
        yield stream


def _sound_form(file: BinaryIO) -> _SoundForm:
    with _open_sound(file) as stream:
        frames = stream.frames if 0 < stream.frames < _FRAMES_UNKNOWN else None
        return _SoundForm(stream.samplerate, stream.channels, stream.format, stream.subtype, frames)


@dataclass(frozen=True, slots=True)
class _Source:
    """One of the recordings in a file."""

    name: str
    file: BinaryIO
    form: _SoundForm
    notes: list[str]


def _link_blocks(source: _Source) -> Iterator[Samples]:
    with _open_sound(source.file) as stream:
        yield from _sound_blocks(source, stream, 0)


def _sound_blocks(source: _Source, stream: SoundStream, given: int) -> Iterator[Samples]:
    """The rest of it; `given` frames are there already."""
    while True:
        try:
            block = _read(stream, source.form)
        except soundfile.LibsndfileError as error:
            yield from _past_damage(source, given, error)
            return
        if not len(block):
            return
        given += len(block)
        yield block


def _past_damage(source: _Source, given: int, error: Any) -> Iterator[Samples]:
    """The rest by FFmpeg, which goes on behind the damage, with silence in its place.

    Raises:
        PackingError: `damaged_audio`: FFmpeg is not here, or does no better.
    """
    name, left = source.name, given
    try:
        source.file.seek(0)
        track = MediaTrack.open(name, source.file, 0)
        for block in track.blocks():
            if len(block) > left:
                yield block[left:]
            left = max(left - len(block), 0)
    except PackingError as other:
        at = f"near {given / source.form.rate:.1f} s: {error.error_string}"
        way = "; lipika-speech[media] reads past it" if other.code == "needs_media" else ""
        raise PackingError("damaged_audio", f"{name} is damaged, or breaks off, {at}{way}") from error
    source.notes.extend(
        track.notes or [f"damaged near {given / source.form.rate:.1f} s: what can be decoded is there"]
    )


def _read(stream: SoundStream, form: _SoundForm) -> Samples:
    """The next samples as left-justified integers; none at the end."""
    if form.subtype in _INTEGER:
        kind = "int32" if form.wide else "int16"
    else:
        kind = "float64" if form.subtype == "DOUBLE" else "float32"
    block: Samples = stream.read(_READ_VALUES // form.channels, dtype=kind, always_2d=True)
    if kind == "int16":
        return block
    if kind == "int32":
        upper: Samples = block & np.int32(-256)
        return upper
    if form.wide:
        return float_samples(block)
    rounded: Samples = np.clip(np.rint(block * 32_768), -32_768, 32_767).astype(np.int16)
    return rounded
