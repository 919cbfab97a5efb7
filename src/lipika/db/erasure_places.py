"""Every table there is, and what an erasure does with it.

A new table goes into this one list; a test finds it missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class How(StrEnum):
    """The way in which an erasure deals with a table."""

    CLIPS = "clips"
    """Rows go by `video_id` and `segment_file`."""
    OWN = "own"
    """By queries of its own: `count_TABLE` and `erase_TABLE` in `erasures.sql`."""
    WITH = "with"
    """Rows go, or are counted, with those of another table: by a trigger or a foreign key."""
    NOBODY = "nobody"
    """Nothing in it is anybody's: no id of a video, no file, no text of a clip."""
    TOMBSTONE = "tombstone"
    """It keeps erased things from coming back."""


@dataclass(frozen=True, slots=True)
class TablePlace:
    """A table. `has_audio`: its column `audio_digest` is of a clip by video and file."""

    table: str
    how: How
    has_audio: bool = False


PLACES = (
    # In the order in which they are erased: what is found by others goes before them, the queue last.
    TablePlace("worker_errors", How.OWN),
    TablePlace("workers", How.OWN),
    TablePlace("notices", How.OWN),
    TablePlace("saved_filters", How.OWN),
    TablePlace("datasets", How.OWN),
    TablePlace("audit_judgements", How.OWN),
    TablePlace("audit_clips", How.CLIPS, has_audio=True),
    TablePlace("comparison_clips", How.CLIPS, has_audio=True),
    TablePlace("redos", How.OWN),
    TablePlace("redo_clips", How.CLIPS, has_audio=True),
    TablePlace("redo_turns", How.OWN),
    TablePlace("canary_clips", How.CLIPS),
    TablePlace("canary_runs", How.OWN),
    TablePlace("edited_clips", How.CLIPS, has_audio=True),
    TablePlace("transcription_edits", How.CLIPS, has_audio=True),
    TablePlace("transcription_flags", How.CLIPS),
    TablePlace("transcription_voters", How.CLIPS, has_audio=True),
    TablePlace("transcription_results", How.OWN, has_audio=True),
    TablePlace("transcription_answers", How.OWN),
    TablePlace("transcription_batches", How.OWN),
    TablePlace("video_queue", How.OWN),
    TablePlace("comparison_votes", How.WITH),
    # Sums, which triggers keep right.
    TablePlace("quality_rollup", How.WITH),
    TablePlace("queue_counts", How.WITH),
    TablePlace("clip_counts", How.WITH),
    TablePlace("tier_counts", How.WITH),
    TablePlace("way_counts", How.WITH),
    TablePlace("flag_counts", How.WITH),
    # Sums over what was asked and paid: they stay.
    TablePlace("token_counts", How.NOBODY),
    TablePlace("batch_hours", How.NOBODY),
    TablePlace("batch_minutes", How.NOBODY),
    TablePlace("model_hours", How.NOBODY),
    TablePlace("worker_minutes", How.NOBODY),
    TablePlace("provider_budgets", How.NOBODY),
    TablePlace("provider_spend", How.NOBODY),
    # Of the fleet and the database.
    TablePlace("audits", How.NOBODY),
    TablePlace("comparisons", How.NOBODY),
    TablePlace("calibrations", How.NOBODY),
    TablePlace("calibration_turns", How.NOBODY),
    TablePlace("lipika_migrations", How.NOBODY),
    TablePlace("worker_keys", How.NOBODY),
    # An erasure's own; the names of one that goes on are forgotten when it is done.
    TablePlace("erasures", How.TOMBSTONE),
    TablePlace("erasure_targets", How.TOMBSTONE),
    TablePlace("erasure_salt", How.TOMBSTONE),
    TablePlace("erased_audio", How.TOMBSTONE),
    TablePlace("erased_names", How.TOMBSTONE),
)
