"""Recordings of a source to input archives: short ones together, long ones apart, nothing lost without a reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from lipika.audio.codec import encode_channels
from lipika.audio.decoders import Samples
from lipika.errors import LipikaError, PackingError, SegmentError, Unavailable
from lipika.packing.archives import ArchiveLimits, OpenArchive
from lipika.packing.cut import LeftOutSpan, cut
from lipika.packing.decode import open_audio
from lipika.packing.fetch import IN_MEMORY, Fetched, Fetcher
from lipika.packing.items import AudioPlace, Label, PackSource, SourceItem, SourceRefusal
from lipika.packing.journal import Journal, item_key
from lipika.packing.sound import OpenRecording, measure, native_suffix
from lipika.packing.speech import NO_DETECTOR, find_detector
from lipika.packing.values import language_key, video_name

WHOLE_SECONDS = 30.0
"""Up to here a recording without labels is one segment; a longer one is cut at speech."""

WHOLE_WITH_TEXT_SECONDS = 600.0
"""Up to here a recording with a text is one segment, so that its text stays its reference."""

OWN_ARCHIVE_SECONDS = 600.0
"""From here on a recording has archives of its own, on its own clock."""

NO_RECORDING = frozenset(
    ("other_file", "link_back", "bad_label", "bad_labels", "labels_without_audio", "unreadable_folder")
)
"""Reasons of what is no recording of its own."""

LONGEST_STRETCH_SECONDS = 600.0
_SLACK_SECONDS = 0.25  # between what a source says of a length and what is there
_OPEN_ARCHIVES = 16
_MOST_NOTES = 20
_OWN_LIMITS = ArchiveLimits(segments=5_000, audio_bytes=2 << 30)


@dataclass(frozen=True, slots=True)
class PackOptions:
    """A person's word on a packing."""

    language: str | None = None  # where the source says none
    force_language: str | None = None
    prefix: str = "packed"  # of the ids of archives that hold many recordings
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)
    scratch: Path | None = None


@dataclass(slots=True)
class PackTally:
    """Counts of one packing, as it goes on."""

    items: int = 0  # recordings that the source names
    packed: int = 0
    items_refused: int = 0
    packed_before: int = 0
    changed: int = 0  # of those: their file is not as it was
    segments: int = 0
    seconds: float = 0.0
    languages: Counter[str] = field(default_factory=Counter)  # seconds
    refused: Counter[str] = field(default_factory=Counter)  # by reason
    examples: dict[str, SourceRefusal] = field(default_factory=dict)  # the first of each reason
    left_out: Counter[str] = field(default_factory=Counter)  # seconds of long recordings, by reason
    notes: set[str] = field(default_factory=set)  # sentences for a person
    columns_left_out: int = 0

    def refuse(self, refusal: SourceRefusal, *, whole: bool = True) -> None:
        """Count a refusal, of a `whole` recording or of a stretch of one."""
        if whole and refusal.reason not in NO_RECORDING:
            self.items_refused += 1
        self.refused[refusal.reason] += 1
        self.examples.setdefault(refusal.reason, refusal)


@dataclass(slots=True)
class ReadyArchives:
    """Archives that only have to be stored, with the recordings in them: (name, key, fingerprint).

    Of a long recording there may be several; they count when all of them are in place.
    """

    archives: list[tuple[str, OpenArchive]]  # with their ids
    items: list[tuple[str, int, str]]

    def close(self) -> None:
        for _, archive in self.archives:
            archive.close()


class _StoppedError(Exception):
    """Told to stop in the middle of a recording."""


@dataclass(slots=True)
class _Filling:
    archive: OpenArchive
    items: list[tuple[str, int, str]] = field(default_factory=list)


class Packer:
    """Packs one source.

    Args:
        source: what is packed.
        fetcher: for its bytes.
        journal: what is packed already; it chooses the ids.
        on_refused: told of everything that is not packed.
    """

    def __init__(
        self,
        source: PackSource,
        fetcher: Fetcher,
        journal: Journal,
        options: PackOptions,
        on_refused: Callable[[SourceRefusal], object] = lambda _refusal: None,
    ) -> None:
        self._source = source
        self._fetcher = fetcher
        self._journal = journal
        self._options = options
        self._on_refused = on_refused
        self._filling: dict[str, _Filling] = {}
        self._audio: _OpenAudio | None = None
        self._stopped = False
        self.tally = PackTally()

    def stop(self) -> None:
        """End before the next recording, from another thread: what is not stored yet is packed again next time."""
        self._stopped = True

    def archives(self) -> Iterator[ReadyArchives]:
        """Archives as they are full, the last ones at the end. Blocks. Each is to be closed by whoever takes it.

        Raises:
            Unavailable: a store or a server stayed away.
        """
        try:
            for item in self._source.items():
                if self._stopped:
                    return
                if isinstance(item, SourceRefusal):
                    self.tally.items += item.reason not in NO_RECORDING
                    self._refuse(item)
                else:
                    self.tally.items += 1
                    yield from self._pack(item)
            for key in list(self._filling):
                yield self._finish(key)
        finally:
            for filling in self._filling.values():
                filling.archive.close()
            if self._audio is not None:
                self._audio.close()

    def _refuse(self, refusal: SourceRefusal, *, whole: bool = True) -> None:
        self.tally.refuse(refusal, whole=whole)
        self._on_refused(refusal)

    def _pack(self, item: SourceItem) -> Iterator[ReadyArchives]:
        key = item_key(self._source.root, item)
        fingerprint = self._fetcher.fingerprint(item.audio)
        if self._journal.has(key):
            self.tally.packed_before += 1
            self.tally.changed += self._journal.has_changed(key, fingerprint)
            return
        named = (item.name, key, fingerprint)
        try:
            audio = self._open(item.audio)
            whole = _Whole.read(item, audio) if not item.labels else None
            if whole is not None:
                yield from self._pack_short(item, named, whole.seconds, [whole.piece(item)], at_start=True)
            elif item.labels:
                last = max(label.end for label in item.labels)
                yield from self._pack_long(item, named, self._cut_labels(item, audio), last)
            elif _is_long(item, audio.sound()):
                pieces = self._cut_at_speech(item, audio)
                yield from self._pack_long(item, named, pieces, audio.sound().seconds)
            else:
                piece = _cut(item, audio.sound(), item.start, item.end, item)
                yield from self._pack_short(item, named, piece.seconds, [piece], at_start=True)
        except Unavailable:
            raise
        except LipikaError as error:
            self._refuse(_refusal(item.name, error))

    def _open(self, place: AudioPlace) -> _OpenAudio:
        """The audio, which stays open for the next item: rows of one recording follow one another."""
        if self._audio is None or self._audio.place != place or place.data is not None:
            if self._audio is not None:
                self._audio.close()
            self._audio = None
            self._audio = _OpenAudio(place, self._fetcher)
        return self._audio

    # ------------------------------------------------------------------------- into archives

    def _pack_short(
        self,
        item: SourceItem,
        named: tuple[str, int, str],
        seconds: float,
        pieces: list[_Piece],
        *,
        at_start: bool = False,
    ) -> Iterator[ReadyArchives]:
        """Add a recording of `seconds` to the archive of its language."""
        language = self._language(item)
        yield from self._make_room(language)
        filling = self._filling.setdefault(language, _Filling(OpenArchive(language, self._options.scratch)))
        for piece in pieces:
            times = (0.0, piece.seconds) if at_start else (piece.start, piece.start + piece.seconds)
            filling.archive.add(piece.speaker, times, (piece.data, piece.suffix), piece.said)
        if not at_start:
            filling.archive.add_recording(item.name, _said_of_recording(item))
        filling.archive.advance(seconds)
        self._note(filling, named, item, pieces)
        if filling.archive.is_full(self._options.limits):
            yield self._finish(language)

    def _make_room(self, language: str) -> Iterator[ReadyArchives]:
        """Before another archive is begun, end the fullest where there are many."""
        if language not in self._filling and len(self._filling) >= _OPEN_ARCHIVES:
            yield self._finish(max(self._filling, key=lambda key: self._filling[key].archive.audio_bytes))

    def _note(
        self, filling: _Filling, named: tuple[str, int, str], item: SourceItem, pieces: list[_Piece]
    ) -> None:
        filling.items.append(named)
        self._count(item, len(pieces), sum(piece.seconds for piece in pieces))

    def _count(self, item: SourceItem, segments: int, seconds: float) -> None:
        self.tally.packed += 1
        self.tally.segments += segments
        self.tally.seconds += seconds
        self.tally.languages[self._language(item)] += round(seconds, 3)  # type: ignore[assignment]

    def _finish(self, language: str) -> ReadyArchives:
        filling = self._filling.pop(language)
        self.tally.columns_left_out += filling.archive.columns_left_out
        name = "_".join(filter(None, (self._options.prefix, video_name(language))))
        return ReadyArchives([(self._journal.choose_id(name, numbered=True), filling.archive)], filling.items)

    def _pack_long(
        self, item: SourceItem, named: tuple[str, int, str], pieces: Iterator[_Piece], seconds: float | None
    ) -> Iterator[ReadyArchives]:
        """A recording of which several stretches are segments: beside others if it is short, else apart.

        Raises:
            PackingError: `nothing_left`: none of its stretches could be packed.
        """
        if seconds is not None and seconds < OWN_ARCHIVE_SECONDS:
            kept = list(pieces)
            if not kept:
                raise PackingError("nothing_left", "not one stretch of it could be packed")
            end = max(piece.start + piece.seconds for piece in kept)
            yield from self._pack_short(item, named, end, kept)
            return
        language, done = self._language(item), [OpenArchive(self._language(item), self._options.scratch)]
        try:
            for piece in pieces:
                if done[-1].is_full(_OWN_LIMITS):
                    done.append(OpenArchive(language, self._options.scratch))
                times = (piece.start, piece.start + piece.seconds)
                done[-1].add(piece.speaker, times, (piece.data, piece.suffix), piece.said)
                if self._stopped:
                    raise _StoppedError
            if not done[-1].segments:
                raise PackingError("nothing_left", "not one stretch of it could be packed")
        except BaseException as error:
            for archive in done:
                archive.close()
            if isinstance(error, _StoppedError):
                return
            raise
        yield self._finish_own(item, named, done)

    def _finish_own(
        self, item: SourceItem, named: tuple[str, int, str], done: list[OpenArchive]
    ) -> ReadyArchives:
        stem = item.name.rpartition("/")[2].rpartition(".")[0] or item.name
        name = "_".join(filter(None, (self._options.prefix, video_name(stem))))
        for archive in done:
            archive.add_recording(item.name, _said_of_recording(item))
            self.tally.columns_left_out += archive.columns_left_out
        self._count(item, sum(archive.segments for archive in done), sum(archive.seconds for archive in done))
        archives = [(self._journal.choose_id(name, numbered=False), archive) for archive in done]
        return ReadyArchives(archives, [named])

    def _cut_labels(self, item: SourceItem, audio: _OpenAudio) -> Iterator[_Piece]:
        """The stretches that its owner has marked; the rest of it is left."""
        sound = audio.sound()
        for number, label in enumerate(item.labels):
            try:
                piece = _cut(item, sound, label.start, label.end, label)
            except (PackingError, SegmentError) as error:
                self._refuse(_refusal(f"{item.name}#{number}", error), whole=False)
                continue
            piece.said = {"id": f"{item.name}#{number}", "recording": item.name, **piece.said}
            yield piece

    def _cut_at_speech(self, item: SourceItem, audio: _OpenAudio) -> Iterator[_Piece]:
        """A long recording cut at speech; what is left out is counted by its reason."""
        detector = find_detector()
        if detector is None:
            self.tally.notes.add(NO_DETECTOR)
        with open_audio(audio.fetched.place) as stream:
            number, rate = 0, stream.rate
            try:
                for part in cut(stream, detector):
                    start, end = part.start_sample / rate, part.end_sample / rate
                    if isinstance(part, LeftOutSpan):
                        self.tally.left_out[part.reason] += end - start  # type: ignore[assignment]
                        continue
                    samples = _take_channel(part.samples, item.channel)
                    said = {"id": f"{item.name}#{number}", "recording": item.name, "start": start, "end": end}
                    yield _Piece(
                        start, end - start, *_encode(samples, rate, stream.depth), item.speaker, said
                    )
                    number += 1
            except PackingError as error:  # met after all that came before it was given
                if not number:
                    raise
                self._refuse(_refusal(f"{item.name}#{number}", error), whole=False)
            for note in stream.notes[: max(_MOST_NOTES - len(self.tally.notes), 0)]:
                self.tally.notes.add(f"{item.name}: {note}")

    def _language(self, item: SourceItem) -> str:
        options = self._options
        return language_key(options.force_language or item.language or options.language)


# ----------------------------------------------------------------------------- pieces


@dataclass(slots=True)
class _Piece:
    """A segment to be: `start` in seconds on the recording's own clock."""

    start: float
    seconds: float
    data: bytes
    suffix: str
    speaker: str | None
    said: dict[str, object]


@dataclass(frozen=True, slots=True)
class _Whole:
    """A recording that goes into an archive byte for byte, or sample for sample."""

    data: bytes
    suffix: str
    seconds: float

    @classmethod
    def read(cls, item: SourceItem, audio: _OpenAudio) -> _Whole | None:
        """None where it is no recording to be taken as a whole.

        Raises:
            SegmentError, PackingError: it cannot be read to its end, or has less than is said of it.
        """
        if item.start or item.channel is not None or audio.fetched.path is not None:
            return None
        most = WHOLE_WITH_TEXT_SECONDS if item.text else WHOLE_SECONDS
        if item.end is not None and item.end > most:
            return None
        suffix = audio.suffix
        if not suffix:
            return cls._decode(item, audio, most)
        frames, rate = audio.measure()
        seconds = frames / rate
        if item.end is not None and seconds > item.end + _SLACK_SECONDS:
            return None
        _demand_length(item.end, seconds)
        return cls(audio.fetched.data, suffix, seconds) if seconds <= most else None

    @classmethod
    def _decode(cls, item: SourceItem, audio: _OpenAudio, most: float) -> _Whole | None:
        """Of a form that archives do not hold: the same samples as FLAC."""
        sound = audio.sound()
        samples = sound.stretch(0, int(most * sound.rate) + 1)
        seconds = len(samples) / sound.rate
        if seconds > most or (item.end is not None and seconds > item.end + _SLACK_SECONDS):
            return None
        _demand_length(item.end, seconds)
        return cls(*_encode(samples, sound.rate, sound.depth), seconds)

    def piece(self, item: SourceItem) -> _Piece:
        return _Piece(0.0, self.seconds, self.data, self.suffix, item.speaker, _said_of(item))


class _OpenAudio:
    """Bytes at hand, with what was found out about them."""

    def __init__(self, place: AudioPlace, fetcher: Fetcher) -> None:
        self.place = place
        self._owner = ExitStack()
        self.fetched: Fetched = self._owner.enter_context(fetcher.open(place))
        self._sound: OpenRecording | None = None
        self._measured: tuple[int, int] | None = None

    @property
    def suffix(self) -> str:
        return native_suffix(self.fetched.data)

    def measure(self) -> tuple[int, int]:
        if self._measured is None:
            self._measured = measure(self.fetched.data)
        return self._measured

    def sound(self) -> OpenRecording:
        if self._sound is None:
            self._sound = OpenRecording(self.fetched)
            self._owner.callback(self._sound.close)
        return self._sound

    def close(self) -> None:
        self._owner.close()


def _samples(seconds: float, rate: int) -> int:
    """A time or length in samples, halves up, as lhotse and NeMo count them."""
    return math.floor(round(seconds * rate, 3) + 0.5)


def _cut(
    item: SourceItem, sound: OpenRecording, start: float, end: float | None, said: SourceItem | Label
) -> _Piece:
    """A stretch, sample for sample.

    Raises:
        PackingError: `too_long`, `beyond_end`, `empty_stretch`.
        SegmentError: `bad_audio`.
    """
    if end is None and sound.frames:
        end = sound.frames / sound.rate
    first = _samples(start, sound.rate)
    most = int(LONGEST_STRETCH_SECONDS * sound.rate) + 1
    last = first + (_samples(end - start, sound.rate) if end is not None else most)
    if last - first > LONGEST_STRETCH_SECONDS * sound.rate:
        raise PackingError("too_long", f"a stretch of over {LONGEST_STRETCH_SECONDS:g} s: give shorter ones")
    samples = sound.stretch(first, last)
    if item.channel is not None:
        if item.channel >= sound.channels:
            raise PackingError(
                "no_such_channel", f"channel {item.channel} of {sound.channels}, counted from 0"
            )
        samples = samples[:, item.channel : item.channel + 1]
    if len(samples) == 0:
        raise PackingError("beyond_end", f"begins at {start:g} s, where there is no audio any more")
    _demand_length(end, (first + len(samples)) / sound.rate)
    speaker = said.speaker or item.speaker
    words = _said_of(said) | {"start": start, "end": (first + len(samples)) / sound.rate}
    return _Piece(
        start, len(samples) / sound.rate, *_encode(samples, sound.rate, sound.depth), speaker, words
    )


def _take_channel(samples: Samples, channel: int | None) -> Samples:
    """Raises PackingError `no_such_channel`."""
    if channel is None:
        return samples
    if not 0 <= channel < samples.shape[1]:
        raise PackingError("no_such_channel", f"channel {channel} of {samples.shape[1]}, counted from 0")
    return samples[:, channel : channel + 1]


def _is_long(item: SourceItem, sound: OpenRecording) -> bool:
    """True for a whole recording that is too long to be one segment."""
    most = WHOLE_WITH_TEXT_SECONDS if item.text else WHOLE_SECONDS
    seconds = sound.seconds
    if item.start or (item.end is not None and seconds is not None and item.end < seconds - _SLACK_SECONDS):
        return False
    return seconds > most if seconds is not None else item.end is None or item.end > most


def _encode(samples: Samples, rate: int, depth: int) -> tuple[bytes, str]:
    data = encode_channels(samples, rate, depth)
    if len(data) > IN_MEMORY:
        raise PackingError(
            "too_large", f"a segment of {len(data):,} bytes: archives hold {IN_MEMORY:,} at most"
        )
    return data, ".flac" if data.startswith(b"fLaC") else ".wav"


def _demand_length(said: float | None, seconds: float) -> None:
    if said is not None and seconds < said - _SLACK_SECONDS:
        raise PackingError("beyond_end", f"said to go on until {said:g} s, and ends at {seconds:.2f} s")


def _refusal(name: str, error: LipikaError) -> SourceRefusal:
    if isinstance(error, PackingError | SegmentError):
        return SourceRefusal(name, error.code, error.message)
    return SourceRefusal(name, "unreadable_file", str(error))


def _said_of(said: SourceItem | Label) -> dict[str, object]:
    words: dict[str, object] = {
        "text": said.text,
        "speaker": said.speaker,
        "language": said.language,
        "columns": dict(said.columns),
    }
    if isinstance(said, SourceItem):
        words = {"id": said.name, **words, "split": said.split}
    return words


def _said_of_recording(item: SourceItem) -> dict[str, object]:
    return _said_of(replace(item, labels=()))
