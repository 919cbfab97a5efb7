"""Clips of a database that people edit: written as a worker writes them, counted anew as nobody's trigger does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lipika.db import Database, Queue, Results
from lipika.models import ClaimedVideo, ClipResult, ClipStatus, NewVideo
from lipika.validation import validate
from result_kit import FAILURE, table
from stored_kit import made

FILE = "speaker0_00000_00500.flac"
OTHER_TEXT = "आज मौसम बहुत अच्छा है और हम बाहर जाएँगे।"


async def claimed(database: Database, video_id: str = "v") -> ClaimedVideo:
    """A video that a worker holds."""
    await Queue(database).add([NewVideo(video_id, f"{video_id}.tar", f"{video_id}_transcribed.tar", "hi")])
    (claim,) = await Queue(database).claim("w1", 600, 1)
    return claim


def answered(number: int, text: str, batch: str, **changes: Any) -> ClipResult:
    """A clip with another answer than `made` has, of another request."""
    result = made(number, text=text)
    return replace(result, provenance=replace(result.provenance, batch_id=batch, **changes))


def failed(number: int) -> ClipResult:
    return replace(made(number), status=ClipStatus.FAILED, answer=None, verdict=None, failure=FAILURE)


def judged(result: ClipResult) -> ClipResult:
    """With the verdict of the rules."""
    assert result.answer is not None
    return replace(result, verdict=validate(result.answer, result.clip, result.language_hint))


async def wrote(database: Database, *results: ClipResult) -> ClaimedVideo:
    claim = await claimed(database)
    await Results(database).write(claim, results)
    return claim


def row(url: str, segment_file: str = FILE) -> dict[str, Any]:
    (found,) = table(url, f"select * from transcription_results where segment_file = '{segment_file}'")  # noqa: S608 - a test's own
    return found


COUNTED = {
    "clip_counts": "language, kind, key, sum(clips)::bigint as clips, sum(duration_ms)::bigint as ms",
    "flag_counts": "language, flag_type, severity, resolved, sum(flags)::bigint as flags",
    "tier_counts": "language, tier, sum(clips)::bigint as clips",
}
_RECOUNT = {
    "clip_counts": """
        select language, kind, key, count(*) as clips, sum(duration_ms)::bigint as ms from (
          select duration_ms, t.* from transcription_results r
          cross join lateral (
            select coalesce(nullif(expected_language_hint, ''), detected_language, 'unknown') as l
          ) s
          cross join lateral (
            values (l, 'status', status),
              (l, 'score', case when quality_score is not null
                then lpad(least(floor(quality_score::numeric * 20), 19)::text, 2, '0') end),
              (l, 'lane', case when asr_eligible then 'asr' end),
              (l, 'lane', case when tts_clean_eligible then 'tts_clean' end),
              (l, 'lane', case when tts_expressive_eligible then 'tts_expressive' end),
              (coalesce(nullif(expected_language_hint, ''), 'none'), 'heard', detected_language),
              (l, 'failure', failure_kind)
            union all
            select distinct l, 'finding:' || (f ->> 'severity'), f ->> 'code' from jsonb_array_elements(findings) f
          ) t (language, kind, key)
          where t.key is not null
        ) every group by 1, 2, 3""",
    "flag_counts": "select language, flag_type, severity, resolved, count(*) as flags from transcription_flags"
    " group by 1, 2, 3, 4",
    "tier_counts": "select coalesce(language, 'unknown') as language, tier, count(*) as clips"
    " from transcription_voters where tier is not null group by 1, 2",
}


def miscounted(url: str) -> dict[str, tuple[list[Any], list[Any]]]:
    """Counters that are not what a count comes to: kept, and counted."""
    wrong = {}
    for name, columns in COUNTED.items():
        last = columns.rpartition(" as ")[2]
        of = columns.count(",") if name != "clip_counts" else 3
        by = ", ".join(str(number + 1) for number in range(of))
        sums = f"select {columns} from {name} group by {by}"  # noqa: S608 - a test's own
        kept = table(url, f"select * from ({sums}) c where {last} <> 0")  # noqa: S608
        counted = table(url, _RECOUNT[name])
        if sorted(map(str, kept)) != sorted(map(str, counted)):
            wrong[name] = (kept, counted)
    return wrong
