"""Clips of a canary that share a request: which, what each of them cost, and what a reply says of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lipika.canary.sample import SampledClip
from lipika.engine.outcome import Circumstances, Outcome, Review
from lipika.llm.several import AskedClip, ClipFault, ReadClip, SeveralAnswers, make_ids, read_several
from lipika.models import Advice, Failure, FailureKind, Judged, Usage
from lipika.pipeline import question
from lipika.validation.bands import Bands

# ----------------------------------------------------------------------------- who asks together


@dataclass(frozen=True, slots=True)
class ClipToAsk:
    """A clip on its way into an arm: its place among all, and its audio."""

    number: int
    sampled: SampledClip
    audio: bytes

    @property
    def name(self) -> str:
        return f"{self.sampled.video_id}/{self.sampled.clip.name.stem}"


def plan_circles(clips: Sequence[SampledClip], most: int) -> list[list[int]]:
    """The clips that share a request, by their places: of one video, as a worker would ask, and up to `most`.

    What is left of videos comes together by language. A request has one language, whose hint is in its prompt.
    """
    by_video = defaultdict[tuple[str, str, str], list[int]](list)
    left = defaultdict[tuple[str, str], list[int]](list)
    for place, one in enumerate(clips):
        by_video[one.language, str(one.sent_format), one.video_id].append(place)
    circles: list[list[int]] = []
    for (language, sent_format, _), places in by_video.items():
        full = len(places) // most * most
        circles += _cut(places[:full], most)
        left[language, sent_format] += places[full:]
    for places in left.values():
        circles += _cut(places, most)
    return circles


def _cut(places: Sequence[int], most: int) -> list[list[int]]:
    return [list(places[start : start + most]) for start in range(0, len(places), most)]


class Circles:
    """Clips wait here for those that they share a request with."""

    def __init__(self, clips: Sequence[SampledClip], most: int) -> None:
        circles = plan_circles(clips, most)
        self._size = {number: len(circle) for number, circle in enumerate(circles)}
        self._circle_of = {place: number for number, circle in enumerate(circles) for place in circle}
        self._waiting = defaultdict[int, list[ClipToAsk]](list)

    def join(self, clip: ClipToAsk) -> list[ClipToAsk] | None:
        """The circle that is complete with this clip; None while others are still to come."""
        number = self._circle_of[clip.number]
        self._waiting[number].append(clip)
        if len(self._waiting[number]) < self._size[number]:
            return None
        return sorted(self._waiting.pop(number), key=lambda one: one.number)


def ids_of(circle: Sequence[ClipToAsk], arm: str) -> tuple[str, ...]:
    """Ids for the clips of one request, the same for the same clips."""
    return make_ids(f"{arm}/{circle[0].name}", len(circle))


# ----------------------------------------------------------------------------- what each costs


@dataclass(frozen=True, slots=True)
class Share:
    """One clip's part of what a request took."""

    usage: Usage
    cost_usd: float


def share_out(outcome: Outcome, lengths: Sequence[int]) -> list[Share]:
    """Tokens and dollars by the length of the audio. Sums are those of the request, to the token and the cent."""
    usage = outcome.usage
    columns = [
        _parts(total, lengths)
        for total in (
            usage.prompt_audio,
            usage.prompt - usage.prompt_audio,
            usage.cached,
            usage.thoughts,
            usage.output - usage.thoughts,
        )
    ]
    whole, before, paid = sum(lengths), 0, 0.0
    shares = []
    for length, (audio, text, cached, thoughts, said) in zip(
        lengths, zip(*columns, strict=True), strict=True
    ):
        before += length
        until = outcome.cost_usd * before / whole if before < whole else outcome.cost_usd
        each = Usage(
            prompt=audio + text,
            prompt_text=text,
            prompt_audio=audio,
            cached=cached,
            output=said + thoughts,
            thoughts=thoughts,
        )
        shares.append(Share(each, until - paid))
        paid = until
    return shares


def _parts(total: int, weights: Sequence[int]) -> list[int]:
    """A whole number in whole parts, as nearly by weight as can be."""
    whole, before, given = sum(weights), 0, 0
    parts = []
    for weight in weights:
        before += weight
        until = round(total * before / whole)
        parts.append(until - given)
        given = until
    return parts


# ----------------------------------------------------------------------------- what a reply says


class JointView:
    """Reads and reviews the reply to several clips, each as it would be alone.

    `reviews` are of the clips whose answer could be read, by their places.
    """

    def __init__(self, circle: Sequence[ClipToAsk], ids: Sequence[str], bands: Bands) -> None:
        self._circle = circle
        self._asked = [
            AskedClip(one, clip.sampled.clip.duration_ms / 1000)
            for one, clip in zip(ids, circle, strict=True)
        ]
        self._bands = bands
        self._read: SeveralAnswers | Failure | None = None
        self.reviews: dict[int, Review] = {}

    def review(self, text: str, _asked: Circumstances) -> Review | Failure:
        """Any of the reviews, as the request's; a failure where no clip has an answer."""
        self._read = read = read_several(text, self._asked)
        if isinstance(read, Failure):
            return read
        alone = Circumstances(varied=False, switched=True)
        for place, (clip, found) in enumerate(zip(self._circle, read.clips, strict=True)):
            if not isinstance(found.answer, Failure):
                sampled = clip.sampled
                self.reviews[place] = question.judge(
                    found.answer, sampled.clip, sampled.language, self._bands, alone
                )
        first = next(iter(self.reviews.values()), None)
        if first is None:
            return Failure(FailureKind.MALFORMED, "no clip of the request has an answer")
        return Review(first.judged, Advice.KEEP)

    def judged_at(self, place: int) -> Judged | None:
        review = self.reviews.get(place)
        return review.judged if review else None

    def failure_at(self, place: int) -> Failure | None:
        """The reason that a clip has no answer in a reply that came; None where it has one, or no reply was read."""
        if isinstance(self._read, Failure):
            return self._read
        found = self._clip_at(place)
        return found.answer if found is not None and isinstance(found.answer, Failure) else None

    def faults_at(self, place: int) -> tuple[ClipFault, ...]:
        """All that is odd about a clip's answer. What belongs to no clip is told with the first one."""
        found = self._clip_at(place)
        if found is None or not isinstance(self._read, SeveralAnswers):
            return ()
        others = [fault for fault, times in self._read.faults.items() for _ in range(times)]
        return (*found.faults, *(others if place == 0 else ()))

    def seconds_at(self, place: int) -> float | None:
        found = self._clip_at(place)
        return found.seconds if found is not None else None

    def _clip_at(self, place: int) -> ReadClip | None:
        return self._read.clips[place] if isinstance(self._read, SeveralAnswers) else None
