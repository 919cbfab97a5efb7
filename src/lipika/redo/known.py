"""Answers that were paid for in the way that clips are to be asked in, whoever asked and for whatever video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lipika.config import plain_model
from lipika.db.paid import PaidAnswers, WayOfAsking
from lipika.db.result_rows import StoredAnswer
from lipika.llm import prompt, transcript
from lipika.pipeline.reuse import AskedAs, fits

_DIGESTS = 500


class HasAudio(Protocol):
    """A clip as far as an answer belongs to it."""

    @property
    def audio_digest(self) -> str: ...

    @property
    def language_hint(self) -> str: ...


async def find_stored(
    paid: PaidAnswers, asked: AskedAs, clips: Sequence[HasAudio]
) -> list[StoredAnswer | None]:
    """For each clip the answer that fits how it would be asked now; None where somebody has yet to pay for one."""
    way: WayOfAsking = {
        "model_ids": [plain_model(asked.model_id)],
        "temperature": asked.temperature,
        "thinking_level": asked.thinking_level,
        "prompt_versions": prompt.prompt_versions(asked.answer, asked.own),
        "schema_version": transcript.schema_version(asked.answer),
    }
    digests = sorted({clip.audio_digest for clip in clips})
    known: dict[str, list[StoredAnswer]] = {}
    for start in range(0, len(digests), _DIGESTS):
        for stored in await paid.find(digests[start : start + _DIGESTS], way):
            known.setdefault(stored.audio_digest, []).append(stored)
    return [_choose(known.get(clip.audio_digest, ()), asked, clip.language_hint) for clip in clips]


def _choose(found: Sequence[StoredAnswer], asked: AskedAs, hint: str) -> StoredAnswer | None:
    """One that was asked for under the same hint, else any that fits."""
    fitting = [one for one in found if fits(one, asked, hint or None)]
    return min(fitting, key=lambda one: one.language_hint != hint, default=None)
