"""Labels that lie beside audio (RTTM, CTM, Audacity, ELAN, WebVTT, SubRip, Praat): stretches, with who and what.

Every reader is tolerant: what is wrong with one line costs that line, with a reason. Pure, but for `read_labels`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from lipika.packing.items import Label

SUFFIXES = (".rttm", ".ctm", ".eaf", ".vtt", ".srt", ".textgrid", ".txt")
"""Of files that may hold labels; `.txt` is Audacity's, or a plain text."""

_MOST_BYTES = 64 << 20
_PAUSE_S = 0.6  # between words of one stretch
_LONGEST_S = 15.0  # of words joined to one stretch
_TIME = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")
_AUDACITY = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?)\t([0-9]+(?:[.,][0-9]+)?)(?:\t(.*))?")
_TAG = re.compile(r"<[^<>]*>")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")


@dataclass(slots=True)
class LabelFile:
    """Labels by the recording that they name ("" where a file of labels names none), and what could not be read."""

    by_recording: dict[str, list[Label]] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)  # (line, from 1; reason)
    text: str | None = None  # of a `.txt` that holds no labels

    def add(self, recording: str, label: Label) -> None:
        self.by_recording.setdefault(recording, []).append(label)

    def labels_of(self, recording: str) -> list[Label]:
        """The labels of one recording, in order of their time; those of the only one, where it is named otherwise."""
        found = self.by_recording.get(recording) or self.by_recording.get("")
        if found is None and len(self.by_recording) == 1:
            (found,) = self.by_recording.values()
        return sorted(found or (), key=lambda label: (label.start, label.end))


class BadLabels(Exception):
    """A file of labels that cannot be read at all."""


def read_labels(path: Path) -> LabelFile:
    """The labels of a file, whose kind its suffix says.

    Raises:
        BadLabels: it cannot be read, is too large, or is none of these.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadLabels(error.strerror or str(error)) from None
    if len(data) > _MOST_BYTES:
        raise BadLabels(f"over {_MOST_BYTES >> 20} MiB of labels")
    return parse_labels(path.suffix.lower(), data)


def parse_labels(suffix: str, data: bytes) -> LabelFile:
    """Raises BadLabels: it is no text, or not of that kind."""
    text = _decode(data)
    found = LabelFile()
    _PARSERS[suffix](text, found)
    return found


def _decode(data: bytes) -> str:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise BadLabels(f"not {encoding.removesuffix('-sig').upper()}: {error.reason}") from None
    raise AssertionError("the last mark fits all")


def _number(text: str) -> float:
    """Raises ValueError: no finite number."""
    value = float(text.replace(",", "."))
    if not -1e9 < value < 1e9:
        raise ValueError(f"{text} is no time")
    return value


def _stretch(
    start: float, end: float, speaker: str | None = None, text: str | None = None, **columns: object
) -> Label:
    """Raises ValueError: it ends at or before its start, or begins before the recording."""
    if start < 0:
        raise ValueError(f"begins at {start:g} s")
    if end <= start:
        raise ValueError(f"ends at {end:g} s, at or before its start {start:g} s")
    return Label(round(start, 6), round(end, 6), speaker or None, (text or "").strip() or None, None, columns)


# ----------------------------------------------------------------------------- a line, a label


def _read_lines(text: str, found: LabelFile, read: Callable[[list[str]], tuple[str, Label] | None]) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith((";;", "#")):
            continue
        try:
            named = read(fields)
        except (ValueError, IndexError) as error:
            found.bad.append((number, str(error) or "too few fields"))
            continue
        if named is not None:
            found.add(*named)


def _rttm(text: str, found: LabelFile) -> None:
    def read(fields: list[str]) -> tuple[str, Label] | None:
        if fields[0] != "SPEAKER":
            return None
        if len(fields) < 5:
            raise ValueError("a SPEAKER line of RTTM has nine fields or more")
        start, length = _number(fields[3]), _number(fields[4])
        speaker = fields[7] if len(fields) > 7 and fields[7] != "<NA>" else None
        return fields[1], _stretch(start, start + length, speaker)

    _read_lines(text, found, read)


def _ctm(text: str, found: LabelFile) -> None:
    words = LabelFile()

    def read(fields: list[str]) -> tuple[str, Label]:
        if len(fields) < 5:
            raise ValueError("a line of CTM has recording, channel, start, length and word")
        start = _number(fields[2])
        return fields[0], _stretch(start, start + max(_number(fields[3]), 0.01), text=fields[4])

    _read_lines(text, words, read)
    found.bad += words.bad
    for recording in words.by_recording:
        for label in join_words(words.labels_of(recording)):
            found.add(recording, label)


def join_words(words: Sequence[Label]) -> Iterator[Label]:
    """Stretches of up to 15 s of words, parted at pauses of 0.6 s."""
    run: Label | None = None
    for word in words:
        if run and word.start - run.end < _PAUSE_S and word.end - run.start <= _LONGEST_S:
            run = replace(run, end=max(run.end, word.end), text=f"{run.text} {word.text}")
            continue
        if run:
            yield run
        run = word
    if run:
        yield run


def _plain_or_audacity(text: str, found: LabelFile) -> None:
    """Audacity's labels, if every line is one; else a text. Lines of frequencies begin with a backslash."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and line[:1] != "\\"]
    matches = [(number, match) for number, line in lines if (match := _AUDACITY.fullmatch(line))]
    if not lines or len(matches) < len(lines):
        found.text = text.strip()
        return
    for number, match in matches:
        try:
            start, end = _number(match[1]), _number(match[2])
            if start == end:  # a mark between two stretches
                continue
            found.add("", _stretch(start, end, text=match[3]))
        except ValueError as error:
            found.bad.append((number, str(error)))


# ----------------------------------------------------------------------------- subtitles


def _cues(text: str, found: LabelFile) -> None:
    number = 0
    lines = text.splitlines()
    while number < len(lines):
        line = lines[number]
        number += 1
        if "-->" not in line:
            continue
        at, said = number, []
        while number < len(lines) and lines[number].strip():
            said.append(lines[number])
            number += 1
        try:
            start, end = (_clock(part) for part in line.split("-->")[:2])
            words = "\n".join(said)
            voices = _VOICE.findall(words)
            speaker = voices[0].strip() if len(set(voices)) == 1 else None
            found.add("", _stretch(start, end, speaker, " ".join(_TAG.sub("", words).split())))
        except ValueError as error:
            found.bad.append((at, str(error)))


def _clock(text: str) -> float:
    match = _TIME.search(text)
    if match is None:
        raise ValueError(f"{text.strip()[:40]!r} is no time of a cue")
    return int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3].replace(",", "."))


# ----------------------------------------------------------------------------- ELAN, Praat


def _elan(text: str, found: LabelFile) -> None:
    """Tiers that depend on no other; a tier's participant is the speaker, where one is named."""
    if "<!ENTITY" in text:
        raise BadLabels("entities of its own: no ELAN file has any")
    try:
        root = ET.fromstring(re.sub(r"^\s*<\?xml.*?\?>", "", text))  # noqa: S314 - no entities
    except ET.ParseError as error:
        raise BadLabels(f"not XML: {error}") from None
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    for tier in root.iter("TIER"):
        if tier.get("PARENT_REF"):
            continue
        for number, one in enumerate(tier.iter("ALIGNABLE_ANNOTATION"), 1):
            start, end = (times.get(one.get(key)) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"))
            value = one.find("ANNOTATION_VALUE")
            try:
                if start is None or end is None:
                    raise ValueError("an annotation without times")
                label = _stretch(
                    _number(start) / 1000,
                    _number(end) / 1000,
                    tier.get("PARTICIPANT"),
                    value.text if value is not None else None,
                    tier=tier.get("TIER_ID") or "",
                )
            except ValueError as error:
                found.bad.append((number, f"tier {tier.get('TIER_ID')}: {error}"))
            else:
                found.add("", label)


_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|<(exists|absent)>|(?<![\w.\["])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.\]])'
)
_WORD_TIER, _SOUND_TIER = re.compile(r"\bwords?\b", re.IGNORECASE), re.compile(r"\bphon", re.IGNORECASE)


def _praat(text: str, found: LabelFile) -> None:
    """Intervals with a text, of long and short TextGrids; tiers of phones are passed over, words are joined."""
    if "ooTextFile" not in text[:200] and "TextGrid" not in text[:400]:
        raise BadLabels("not a TextGrid in text form")
    tokens = [match[1] if match[1] is not None else match[3] or match[2] for match in _TOKEN.finditer(text)]
    at = 0
    tiers: list[tuple[str, list[Label]]] = []
    while at < len(tokens):
        if tokens[at] not in ("IntervalTier", "TextTier"):
            at += 1
            continue
        try:
            kind, name, count = tokens[at], tokens[at + 1], int(float(tokens[at + 4]))
        except (IndexError, ValueError):
            found.bad.append((0, "a tier without its number of intervals"))
            break
        at += 5
        step = 3 if kind == "IntervalTier" else 2
        if kind == "IntervalTier":
            tiers.append((name, list(_intervals(tokens[at : at + 3 * count], name, found))))
        at += step * count
    spoken = [tier for tier in tiers if not _SOUND_TIER.search(tier[0])]
    phrases = [tier for tier in spoken if not _WORD_TIER.search(tier[0])]
    for _, labels in phrases or spoken:
        for label in labels if phrases else join_words(labels):
            found.add("", label)


def _intervals(tokens: list[str], tier: str, found: LabelFile) -> Iterator[Label]:
    for number in range(0, len(tokens) - 2, 3):
        said = tokens[number + 2].replace('""', '"').strip()
        if not said:
            continue
        try:
            yield _stretch(_number(tokens[number]), _number(tokens[number + 1]), text=said, tier=tier)
        except ValueError as error:
            found.bad.append((number // 3 + 1, f"tier {tier}: {error}"))


_PARSERS: dict[str, Callable[[str, LabelFile], None]] = {
    ".rttm": _rttm,
    ".ctm": _ctm,
    ".eaf": _elan,
    ".vtt": _cues,
    ".srt": _cues,
    ".textgrid": _praat,
    ".txt": _plain_or_audacity,
}
