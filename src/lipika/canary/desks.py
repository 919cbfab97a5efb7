"""An arm of a canary at work: clips in, rows out; one clip a request, or several."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lipika.canary.arms import Arm
from lipika.canary.readings import NO_VOICES, Voice, Voices, add_reading, find_dispute
from lipika.canary.recording import ClipEnd, ClipView, PaidAttempt, Recorder, row_of
from lipika.canary.records import Asked
from lipika.canary.together import Circles, ClipToAsk, JointView, Share, ids_of, share_out
from lipika.engine.engine import Engine
from lipika.engine.outcome import Outcome
from lipika.errors import Draining, WorkerStop
from lipika.llm.own_prompt import OwnPrompt, load_own_prompt
from lipika.llm.provider import TranscriptionRequest
from lipika.models import Advice, Failure, Judged
from lipika.pipeline import question
from lipika.validation.bands import Bands


@dataclass(frozen=True, slots=True)
class EndedClip:
    """A clip's row, with its place among all clips."""

    number: int
    row: Asked


class ArmDesk:
    """One arm at work. `ended` grows; `stopped` says why nothing more is asked, where that is so."""

    def __init__(self, arm: Arm, recorder: Recorder, engine: Engine, bands: Bands) -> None:
        self.arm = arm
        self.recorder = recorder
        self.engine = engine
        self.bands = bands
        self.ended: list[EndedClip] = []
        self.rows: dict[int, Asked] = {}  # the same by number
        self.stopped = ""

    async def ask(self, clip: ClipToAsk) -> None:
        """Bring one clip to its end in this arm."""
        if self.stopped:
            return
        view = ClipView(clip.sampled, self.bands)
        request = self.request_for(clip)
        outcome = await self.transcribe(request, view)
        if outcome is None:
            return
        attempts = self.recorder.attempts_at(request.clip_id)
        row = row_of(
            self.arm, clip.sampled, ClipEnd.from_outcome(outcome), attempts, view.first, view.unreadable
        )
        before = tuple(text for text in view.texts if text != row.transcription)
        self.keep(clip, replace(row, texts_before=before))

    def keep(self, clip: ClipToAsk, row: Asked) -> None:
        """The end of a clip."""
        self.rows[clip.number] = row
        self.ended.append(EndedClip(clip.number, row))

    def request_for(self, clip: ClipToAsk) -> TranscriptionRequest:
        """The question about one clip alone."""
        sampled = clip.sampled
        return question.request_for(
            sampled.video_id,
            sampled.clip,
            sampled.language,
            clip.audio,
            sampled.sent_format,
            form=self.arm.answer,
            own=own_prompt_of(self.arm),
        )

    async def transcribe(self, request: TranscriptionRequest, view: ClipView | JointView) -> Outcome | None:
        """The end of a request; None where nothing more is asked, and it has none."""
        try:
            return await self.engine.transcribe(request, view.review)
        except WorkerStop as reason:
            self.stopped = str(reason)
        except Draining:
            pass
        return None


class JointDesk(ArmDesk):
    """Several clips a request. What fails there, or is doubted, is asked alone: nobody leaves a clip undone that may
    be asked again, and the arm pays for it. A clip whose joint answer is doubted is asked in other words, as the one
    retry that each clip has."""

    def __init__(self, arm: Arm, recorder: Recorder, engine: Engine, bands: Bands, circles: Circles) -> None:
        super().__init__(arm, recorder, engine, bands)
        self._circles = circles

    async def ask(self, clip: ClipToAsk) -> None:
        """Ask for this clip's circle, once all of it is there."""
        circle = self._circles.join(clip)
        if self.stopped or circle is None:
            return
        if len(circle) == 1:
            await super().ask(clip)
        else:
            await self._ask_together(circle)

    async def _ask_together(self, circle: Sequence[ClipToAsk]) -> None:
        name = f"{circle[0].name} and {len(circle) - 1} more"
        ids = ids_of(circle, self.arm.name)
        request = question.request_for_several(
            name,
            [(one, clip.sampled.clip, clip.audio) for one, clip in zip(ids, circle, strict=True)],
            circle[0].sampled.language,
            circle[0].sampled.sent_format,
            self.arm.answer,
        )
        view = JointView(circle, ids, self.bands)
        outcome = await self.transcribe(request, view)
        if outcome is None:
            return
        attempts = self.recorder.attempts_at(name)
        shares = share_out(outcome, [clip.sampled.clip.duration_ms for clip in circle])
        async with asyncio.TaskGroup() as group:
            for place, (clip, share) in enumerate(zip(circle, shares, strict=True)):
                joint = _Joint(name, len(circle), outcome, share, attempts, view, place)
                group.create_task(self._end_one(clip, joint))

    async def _end_one(self, clip: ClipToAsk, joint: _Joint) -> None:
        """Take a clip's joint answer, or ask for it alone."""
        judged, view = joint.judged, ClipView(clip.sampled, self.bands)
        ending, attempts = joint.ending(), [*joint.attempts]
        if judged is None or joint.is_doubted:
            request = self.request_for(clip)
            if judged is not None:
                view.before = judged
                request = replace(request, varied=True, clip_prompt=request.varied_prompt)
            outcome = await self.transcribe(request, view)
            attempts += self.recorder.attempts_at(request.clip_id)
            if outcome is None and not joint.is_kept:
                return  # it has no end
            if outcome is not None:
                ending = joint.ending(outcome)
        row = row_of(
            self.arm, clip.sampled, ending, attempts, joint.first, [*joint.unreadable, *view.unreadable]
        )
        self.keep(clip, joint.mark(row))


class ReadingDesk(ArmDesk):
    """The baseline, whose disputed clips are read once more with both texts. What that says is taken, unless it
    cannot be read: its worth is what is measured. A clip that nobody disputes has the baseline's end."""

    def __init__(
        self, arm: Arm, recorder: Recorder, engine: Engine, bands: Bands, voices: Mapping[str, Voices]
    ) -> None:
        super().__init__(arm, recorder, engine, bands)
        self._voices = voices

    async def read_again(self, clip: ClipToAsk, baseline: Asked, others: Sequence[Voice]) -> None:
        """End a clip that the baseline has ended; `others` are texts of other arms."""
        known = self._voices.get(clip.sampled.clip.audio_digest, NO_VOICES)
        row = replace(baseline, arm=self.arm.name, reference=known.reference)
        voice = find_dispute(baseline, [*others, *known.others])
        if voice is None or self.stopped:
            self.keep(clip, row)
            return
        sampled = clip.sampled
        request = question.request_for(
            sampled.video_id,
            sampled.clip,
            sampled.language,
            clip.audio,
            sampled.sent_format,
            form=self.arm.answer,
            own=own_prompt_of(self.arm),
            readings=(baseline.transcription, voice.text),
        )
        view = ClipView(sampled, self.bands, is_last=True)
        outcome = await self.transcribe(request, view)
        if outcome is None:
            return
        attempts = self.recorder.attempts_at(request.clip_id)
        end = ClipEnd.from_outcome(outcome)
        self.keep(
            clip,
            add_reading(row, row_of(self.arm, sampled, end, attempts, view.first, view.unreadable), voice),
        )


def own_prompt_of(arm: Arm) -> OwnPrompt:
    """What a person adds to the prompt in this arm."""
    return load_own_prompt(Path(arm.prompt_file) if arm.prompt_file else None)


@dataclass(frozen=True, slots=True)
class _Joint:
    """The outcome of a request for several clips for one of them, by its place there."""

    name: str
    clips: int
    outcome: Outcome
    share: Share
    attempts: Sequence[PaidAttempt]
    view: JointView
    place: int

    @property
    def judged(self) -> Judged | None:
        return self.view.judged_at(self.place)

    @property
    def is_doubted(self) -> bool:
        review = self.view.reviews.get(self.place)
        return review is not None and (review.advice is not Advice.KEEP or not review.acceptable)

    @property
    def is_kept(self) -> bool:
        """True if its answer may end the clip."""
        review = self.view.reviews.get(self.place)
        return review is not None and review.acceptable

    @property
    def first(self) -> Judged | Failure | None:
        return self.judged or self.view.failure_at(self.place) or self.outcome.failure

    @property
    def unreadable(self) -> Sequence[str]:
        """The kinds of what could not be read; a refusal by the provider is among the attempts."""
        failure = self.view.failure_at(self.place)
        return () if failure is None else (failure.code or str(failure.kind),)

    def ending(self, alone: Outcome | None = None) -> ClipEnd:
        """The clip's end, by the better of its two answers where it has been asked alone, too."""
        kept = self.judged if self.is_kept else None
        if alone is None:
            return ClipEnd(
                kept,
                self.outcome.attempts,
                self.share.usage,
                self.share.cost_usd,
                self.outcome.provider,
                self.outcome.model_version,
            )
        better = alone.judged
        if better is None or (kept is not None and kept.rank >= better.rank):
            better = kept
        return ClipEnd(
            better,
            self.outcome.attempts + alone.attempts,
            self.share.usage + alone.usage,
            self.share.cost_usd + alone.cost_usd,
            alone.provider,
            alone.model_version,
        )

    def mark(self, row: Asked) -> Asked:
        """The row with what it was asked together with."""
        return replace(
            row,
            together=self.clips,
            joint=self.name,
            joint_requests=self.outcome.attempts,
            joint_faults=tuple(map(str, self.view.faults_at(self.place))),
            seconds_by_ear=self.view.seconds_at(self.place),
        )
