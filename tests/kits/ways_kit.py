"""Answers of a second way of asking beside results that there are, for tests of comparisons."""

from __future__ import annotations

from fleet_kit import change, rows

OTHER = "another-<script>alert(1)</script>model"
"""The model of the second way; its name is one that a page must not take for markup."""


def keep_other_answers(url: str) -> None:
    """Keep an answer of another model aside for every result: of every third clip with the same words, else with one
    word more at the end, or none at the beginning. All videos count as done.
    """
    change(
        url,
        "insert into transcription_answers (audio_digest, way_digest, provider, model_id, model_version, temperature,"
        " thinking_level, prompt_version, schema_version, language_hint, answer, usage, cost_usd)"
        " select r.audio_digest, lipika_way(%s, r.temperature, r.thinking_level, r.prompt_version, r.schema_version,"
        " coalesce(r.expected_language_hint, '')), r.provider, %s, 'v', r.temperature, r.thinking_level,"
        " r.prompt_version, r.schema_version, coalesce(r.expected_language_hint, ''),"
        " jsonb_build_object('detected_language', r.detected_language, 'transcription', case number %% 3"
        " when 0 then r.transcription when 1 then r.transcription || ' <b>वह</b>' else"
        " regexp_replace(r.transcription, '^\\S+ ', '') end),"
        " '{}', 2 * r.cost_usd"
        " from (select *, row_number() over (order by video_id, segment_file) as number from transcription_results"
        " where status = 'transcribed') r",
        OTHER,
        OTHER,
    )
    change(
        url,
        "insert into video_queue (video_id, source_key, output_key, status, completed_at)"
        " select distinct video_id, video_id || '.tar', video_id || '_out.tar', 'done', now()"
        " from transcription_results on conflict do nothing",
    )


def names_of_ways(url: str) -> tuple[str, str]:
    """The names of the way of the results, and of the other."""
    found = rows(url, "select distinct way, model_id from way_counts")
    (first,) = (row.way for row in found if row.model_id != OTHER)
    (second,) = (row.way for row in found if row.model_id == OTHER)
    return first, second
