"""Results as rows of a NeMo manifest: the rows of their owner again, with `pred_text` beside their own `text`. Pure.

What the owner of a recording called it stays: path, offset, speaker, split, and every other column. `_skipme` is
empty for what may be used (the `asr` lane is open), as NeMo Curator has it; else it says why not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lipika.archive.references import SegmentSource, clips_by_segment
from lipika.models import ClipResult

_OURS = ("pred_text", "pred_lang", "_skipme")


def predictions_of(
    sources: Mapping[str, SegmentSource], results: Sequence[ClipResult]
) -> Iterator[dict[str, object]]:
    """A row for each segment that a source gave, in the source's order; of several clips their texts, joined."""
    clips = clips_by_segment(results)
    for stem, source in sources.items():
        yield _row(source, clips.get(stem, []))


def _row(source: SegmentSource, spoken: Sequence[ClipResult]) -> dict[str, object]:
    row: dict[str, object] = {"audio_filepath": source.id}
    row |= {name: value for name, value in source.columns.items() if name not in _OURS}
    theirs = {
        "id": source.id,
        "text": source.text,
        "lang": source.language,
        "speaker": source.speaker,
        "split": source.split,
    }
    row |= {name: value for name, value in theirs.items() if value}
    if "duration" not in row and spoken:
        segment = spoken[0].clip.segment
        row["duration"] = (segment.end_cs - segment.start_cs) / 100
    answers = [result.answer for result in spoken]
    if not spoken or None in answers:
        return row | {"pred_text": "", "_skipme": "not_transcribed"}
    texts = [answer.transcription for answer in answers if answer is not None and not answer.no_speech]
    reasons = sorted(
        {
            reason
            for result in spoken
            if result.verdict is not None and not result.verdict.asr.eligible
            for reason in result.verdict.asr.reasons or ("asr",)
        }
    )
    return row | {
        "video_id": spoken[0].video_id,
        "pred_text": " ".join(texts),
        "pred_lang": next((answer.detected_language for answer in answers if answer is not None), ""),
        "_skipme": ", ".join(reasons),
    }
