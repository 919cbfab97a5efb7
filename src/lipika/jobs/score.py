"""The work of `lipika score`: results held against the references that came with the recordings.

A reference is of a segment; where polishing made several clips of it, their texts are joined in order. Letters and
words are counted as an audit counts them: without tags, case and punctuation. A segment that has no clip, or one
without an answer, has no score, and is counted.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lipika.alignment.compare import language_of
from lipika.alignment.romanise import Romaniser, open_romaniser
from lipika.alignment.voters import NOBODY_SPEAKS, text_edits, voters_of
from lipika.archive.predictions import predictions_of
from lipika.archive.references import VOTER, SegmentSource, clips_by_segment, sources_of
from lipika.archive.results import find_results, read_archive, read_metadata
from lipika.audit.estimates import AuditedRate, HeardClips, Stratum, error_rate
from lipika.audit.figures import count_errors
from lipika.audit.page import rate_words
from lipika.config import load_settings
from lipika.errors import ArchiveError, StorageError
from lipika.languages import LANGUAGES, find_language
from lipika.models import ClipResult
from lipika.services import store_settings
from lipika.validation.text import normalise, without_tags

OWN = "lipika"
"""The text that results have, whoever said it."""

_COUNTS = ("cer", "wer", "cer_tolerant")
_ENDLESS = 1 << 40  # segments: a sample of all that such data could be


@dataclass(frozen=True, slots=True)
class ScoreOrder:
    """The order given on the command line. `language` is a code; empty: all of them."""

    sources: Sequence[str]
    language: str = ""
    by_model: bool = False
    worst: int = 10
    manifest: Path | None = None  # for the rows of the source, with `pred_text`
    data_dir: Path | None = None


@dataclass(slots=True)
class ScoredVoice:
    """Errors of one voice in one language: (errors, of) of each segment, by what is counted."""

    language: str
    voice: str
    found: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {name: [] for name in _COUNTS})

    @property
    def segments(self) -> int:
        return len(self.found["cer"])

    def rate(self, name: str) -> AuditedRate:
        """Errors over letters, or words, of all segments, with the interval of 95 %."""
        counted = np.array(self.found[name], dtype=np.float64).reshape(-1, 2)
        nothing = np.zeros(len(counted))
        heard = HeardClips(
            stratum=np.zeros(len(counted), dtype=np.int64),
            errors=counted[:, 0],
            letters=counted[:, 1],
            unusable=np.zeros(len(counted), dtype=np.bool_),
            proxy_errors=nothing,
            proxy_letters=nothing,
        )
        return error_rate(heard, [Stratum(_ENDLESS)], proxy=False)

    def document(self) -> dict[str, object]:
        """For `--json`."""
        of = {name: sum(one for _, one in counted) for name, counted in self.found.items()}
        return {
            "language": self.language,
            "voice": self.voice,
            "segments": self.segments,
            "letters": of["cer"],
            "words": of["wer"],
            **{name: _rate_document(self.rate(name)) for name in _COUNTS},
        }


@dataclass(frozen=True, slots=True, order=True)
class WorstSegment:
    """A segment in which much differs."""

    cer: float
    video_id: str
    segment: str
    id: str = field(compare=False)
    said: str = field(compare=False)
    reference: str = field(compare=False)


@dataclass(slots=True)
class Scores:
    """All that was held against references."""

    archives: int = 0
    scored: int = 0  # segments
    joined: int = 0  # of them: of several clips
    without_reference: int = 0  # segments
    not_transcribed: int = 0  # segments with a reference, of which a clip has no answer, or that have none
    rows: int = 0  # of the manifest
    parts: dict[tuple[str, str], ScoredVoice] = field(default_factory=dict)
    worst: list[WorstSegment] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """For `--json`. Rates are shares, with 95 % intervals."""
        names = ("archives", "scored", "joined", "without_reference", "not_transcribed", "rows", "problems")
        return {name: getattr(self, name) for name in names} | {
            "parts": [part.document() for _, part in sorted(self.parts.items())],
            "worst": [
                {"video_id": one.video_id, "segment": one.segment, "id": one.id, "cer": round(one.cer, 4),
                 "said": one.said, "reference": one.reference}
                for one in sorted(self.worst, reverse=True)
            ],
        }  # fmt: skip


async def score_stored(order: ScoreOrder) -> Scores:
    """Score all result archives.

    Raises:
        UsageError: a source names nothing.
    """
    settings = load_settings(lipika_data_dir=order.data_dir)
    store, romaniser = store_settings(settings), open_romaniser(settings.align_romaniser)
    scores = Scores()
    if order.manifest is not None:
        await asyncio.to_thread(order.manifest.write_bytes, b"")
    async for archive in find_results(order.sources, store):
        scores.archives += 1
        try:
            sources = sources_of(await asyncio.to_thread(read_metadata, archive, store))
            results = await asyncio.to_thread(read_archive, archive, store) if sources else []
            await asyncio.to_thread(add_scores, scores, sources, results, order, romaniser)
            if order.manifest is not None:
                scores.rows += await asyncio.to_thread(_append, order.manifest, sources, results)
        except (ArchiveError, StorageError) as error:
            scores.problems.append((archive.url, str(error)))
    return scores


def _append(manifest: Path, sources: Mapping[str, SegmentSource], results: Sequence[ClipResult]) -> int:
    """Add the rows of one archive to a manifest; so many."""
    rows = list(predictions_of(sources, results))
    with manifest.open("ab") as file:
        file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    return len(rows)


def add_scores(
    scores: Scores,
    sources: dict[str, SegmentSource],
    results: Sequence[ClipResult],
    order: ScoreOrder,
    romaniser: Romaniser,
) -> None:
    """Score the segments of one archive."""
    clips = clips_by_segment(results)
    for stem, source in sources.items():
        spoken = clips.get(stem, [])
        language = _language(source, spoken)
        if order.language and language != order.language:
            continue
        if not source.text:
            scores.without_reference += 1
        elif not spoken or any(result.answer is None for result in spoken):
            scores.not_transcribed += 1
        else:
            scores.scored += 1
            scores.joined += len(spoken) > 1
            for voice, said in _voices(spoken, by_model=order.by_model):
                part = scores.parts.setdefault((language, voice), ScoredVoice(language, voice))
                cer = _count(part, said, source.text, romaniser)
                if voice == OWN and cer:
                    one = WorstSegment(cer, spoken[0].video_id, stem, source.id, said, source.text)
                    heapq.heappush(scores.worst, one)
                    if len(scores.worst) > order.worst:
                        heapq.heappop(scores.worst)


def _language(source: SegmentSource, spoken: Sequence[ClipResult]) -> str:
    """By the owner's word, else by the answers', else by the hint; empty where nobody says."""
    told = find_language(source.language)
    if told is not None:
        return told.code
    answered = [language_of(one.answer, one.language_hint) for one in spoken if one.answer is not None]
    return next(filter(None, answered), "")


def _voices(spoken: Sequence[ClipResult], *, by_model: bool) -> Iterator[tuple[str, str]]:
    """(who, text of the segment) of the results themselves, and of all who have said something of each clip."""
    yield OWN, _join(result.answer.transcription for result in spoken if result.answer is not None)
    if not by_model:
        return
    heard = [{voter.digest: voter for voter in voters_of(result)} for result in spoken]
    for digest, voter in heard[0].items():
        if voter.name != VOTER and all(digest in one for one in heard):
            yield voter.name, _join(one[digest].text for one in heard)


def _join(texts: Iterator[str]) -> str:
    return " ".join(text for text in texts if text and text != NOBODY_SPEAKS)


def _count(part: ScoredVoice, said: str, true: str, romaniser: Romaniser) -> float:
    """Add a segment to a part; its share of wrong letters."""
    plain = count_errors(said, true)
    first, second = (normalise(without_tags(text)).split() for text in (said, true))
    part.found["cer"].append(plain)
    part.found["wer"].append((int(Levenshtein.distance(first, second)), len(second)))
    tolerant = text_edits(said, true, part.language, romaniser) if part.language in LANGUAGES else plain
    part.found["cer_tolerant"].append(tolerant)
    return plain[0] / max(plain[1], 1)


def _rate_document(rate: AuditedRate) -> dict[str, float | None]:
    estimate = rate.estimate
    known = not math.isnan(estimate.value)
    return {
        "value": round(estimate.value, 6) if known else None,
        "low": round(estimate.low, 6),
        "high": round(estimate.high, 6),
    }


def print_scores(scores: Scores, out: Console) -> None:
    """Rates by language and voice, the worst segments, and what was left out."""
    table = Table(title=f"{scores.scored:,} segments with a reference, of {scores.archives:,} archives")
    for name in ("language", "text of", "segments", "CER", "spelling aside", "WER"):
        table.add_column(name, justify="left" if name in ("language", "text of") else "right")
    for _, part in sorted(scores.parts.items()):
        rates = (rate_words(part.rate(name)) for name in ("cer", "cer_tolerant", "wer"))
        table.add_row(part.language or "?", escape(part.voice), f"{part.segments:,}", *rates)
    if scores.parts:
        out.print(table)
    if scores.joined:
        out.print(f"{scores.joined:,} segments are of several clips: their texts are joined in order.")
    if scores.not_transcribed:
        out.print(f"{scores.not_transcribed:,} segments with a reference have no answer, and no score.")
    if scores.rows:
        out.print(f"{scores.rows:,} rows are in the manifest.")
    elif not scores.scored:
        out.print(
            "Nothing to score: references are texts that `lipika pack` found in a source, and kept in the archives."
        )
    for one in sorted(scores.worst, reverse=True):
        out.print(
            f"{100 * one.cer:.0f} %  {one.video_id} {one.segment}  {one.id}\n"
            f"   reference  {one.reference}\n   lipika     {one.said}",
            markup=False,
            soft_wrap=True,
        )
    for name, message in scores.problems:
        out.print(f"LEFT OUT  {name}: {message}", markup=False, soft_wrap=True)
