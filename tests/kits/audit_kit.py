"""A made corpus in the database whose errors are known, for tests of audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import psycopg

_INSERT = """
insert into transcription_results (
  video_id, segment_file, source_segment, speaker_id, status, original_start_ms, original_end_ms, trimmed_start_ms,
  trimmed_end_ms, leading_pad_ms, trailing_pad_ms, duration_ms, audio_digest, expected_language_hint,
  detected_language,
  transcription, tagged, quality_score, asr_eligible, tts_clean_eligible, tts_expressive_eligible,
  alignment_score, prompt_version,
  schema_version, trimmer_version, provider, model_id, model_version, thinking_level, worker_id, batch_id, attempts,
  latency_ms, cache_hit, token_usage_json, cost_usd
)
select video_id, segment_file, segment_file, 'speaker0', 'transcribed', 0, 5000, 0, 5000, 150, 150, 5000,
  md5(video_id || segment_file), language, language, text, text, 0.9, asr, tts, false, score, '1', '2', '1',
  'aistudio', 'm', 'm-1', 'low', 'w', 'b', 1, 100, false, '{}', 0.001
from unnest(
  %s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[], %s::boolean[], %s::real[]
) as c (video_id, segment_file, language, text, asr, tts, score)
"""
_TIERS = """
insert into transcription_voters (video_id, segment_file, audio_digest, tier, language)
select video_id, segment_file, md5(video_id || segment_file), tier, language
from unnest(%s::text[], %s::text[], %s::text[], %s::text[]) as c (video_id, segment_file, tier, language)
where tier <> ''
"""
_LETTERS = "कखगघचछजझटठडढणतथदधनपफबभमयरलवशसह"


@dataclass(frozen=True, slots=True)
class MadeClip:
    """A clip of which is known what is said in it. `true` None: nobody can use it."""

    video_id: str
    segment_file: str
    language: str
    text: str
    true: str | None
    asr: bool
    tts: bool
    tier: str
    score: float | None


def make_clips(
    sizes: Sequence[int],
    *,
    languages: Sequence[str] = ("hi",),
    wrong: float = 0.05,
    unusable: float = 0.0,
    proxy: bool = True,
    seed: int = 1,
) -> list[MadeClip]:
    """Videos of so many clips each. A share `wrong` of the letters of some clips is not what is said."""
    chance = Random(seed)
    clips = []
    for number, size in enumerate(sizes):
        language = languages[number % len(languages)]
        for clip in range(size):
            true = " ".join(
                "".join(chance.choice(_LETTERS) for _ in range(chance.randint(2, 7)))
                for _ in range(chance.randint(3, 12))
            )
            share = 0.0 if chance.random() < 0.5 else 2 * wrong
            text = "".join(
                chance.choice(_LETTERS) if letter != " " and chance.random() < share else letter
                for letter in true
            )
            bad = chance.random() < unusable
            good = chance.random() < 0.7
            clips.append(
                MadeClip(
                    video_id=f"video-{number:04d}",
                    segment_file=f"speaker0_{clip * 1000:05d}_{clip * 1000 + 500:05d}.flac",
                    language=language,
                    text=text,
                    true=None if bad else true,
                    asr=good or chance.random() < 0.5,
                    tts=good,
                    tier=chance.choice(("gold", "gold", "silver", "bronze")) if proxy else "",
                    score=max(0.0, min(1.0, 1 - share - chance.random() * 0.05)) if proxy else None,
                )
            )
    return clips


def store_clips(url: str, clips: Sequence[MadeClip]) -> None:
    """The rows of these clips, as workers would have written them."""
    with psycopg.connect(url) as connection:
        connection.execute(
            _INSERT,
            (
                [clip.video_id for clip in clips],
                [clip.segment_file for clip in clips],
                [clip.language for clip in clips],
                [clip.text for clip in clips],
                [clip.asr for clip in clips],
                [clip.tts for clip in clips],
                [clip.score for clip in clips],
            ),
        )
        connection.execute(
            _TIERS,
            (
                [clip.video_id for clip in clips],
                [clip.segment_file for clip in clips],
                [clip.tier for clip in clips],
                [clip.language for clip in clips],
            ),
        )
