"""Money spent: by day, provider and kind of token; tokens of answers; the cost of a clip, and of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from lipika.db.connection import Database
from lipika.db.queries import load

_QUERIES = load("stats_spend")


@dataclass(frozen=True, slots=True)
class SpendDay:
    """One UTC day with one provider (`mixed`: windows that used both), each request on the day its window began."""

    day: date
    provider: str
    requests: int
    answers: int
    rate_limited: int
    errors: int
    retried: int
    cache_hits: int
    prompt_tokens: int
    audio_tokens: int  # of the prompt's
    cached_tokens: int  # of the prompt's
    output_tokens: int
    thought_tokens: int  # of the output's
    cost_usd: float
    flex_answers: int = 0  # of the requests: served and billed at Flex
    flex_usd: float = 0.0  # of the dollars


@dataclass(frozen=True, slots=True)
class SpendHour:
    """One hour of all providers."""

    hour: datetime
    cost_usd: float
    answers: int


@dataclass(frozen=True, slots=True)
class ModelSpend:
    """One model of a cascade: attempts that were billed, their dollars, and clips that went up from it."""

    model_id: str
    answers: int
    usd: float
    went_up: int


@dataclass(frozen=True, slots=True)
class SpendSummary:
    """Dollars so far, and the clips they bought."""

    usd_total: float
    usd_today: float
    usd_simulated: float  # of the total: of made-up answers, which nobody charges
    usd_canary: float  # of the total: of canaries, whose clips are none of the queue's
    usd_opinions: float  # of the total: of second opinions
    usd_charged: float  # for clips of the queue, and not made up
    usd_rehearsed: float  # for clips of the queue, made up
    transcribed: int
    clips: int  # ended: transcribed, without speech, failed
    accepted: int  # eligible for ASR
    usd_flex: float = 0.0  # of the total: billed at Flex
    usd_canary_today: float = 0.0

    @property
    def usd_production(self) -> float:
        """Dollars for clips of the queue: all but those of canaries."""
        return self.usd_charged + self.usd_rehearsed

    @property
    def usd_production_today(self) -> float:
        return max(self.usd_today - self.usd_canary_today, 0.0)

    @property
    def usd_per_clip(self) -> float | None:
        return self._usd_of_the_queue / self.clips if self.clips else None

    @property
    def usd_per_accepted_clip(self) -> float | None:
        return self._usd_of_the_queue / self.accepted if self.accepted else None

    @property
    def _usd_of_the_queue(self) -> float:
        """The dollars that bought its clips: real dollars where there are any, else those of a rehearsal."""
        return self.usd_charged or self.usd_rehearsed

    def projected_usd(self, clips_left: float | None) -> float | None:
        """Dollars when the queue is empty, at what a clip has cost so far; without those of canaries."""
        each = self.usd_per_clip
        return None if each is None or clips_left is None else self.usd_production + each * clips_left


@dataclass(frozen=True, slots=True)
class MeteredAnswers:
    """Answers with speech of one language and way of asking that took one request each, as metered. Every answer that
    was paid for counts once, whatever became of it; what is used again counts no more. Sums."""

    language: str  # heard
    model_id: str
    schema_version: str
    thinking_level: str
    made_up: bool  # by the simulator: its tokens are a guess
    answers: int
    characters: int  # of the transcriptions: code points, blanks among them
    answer_tokens: int  # billed as output, without thoughts
    thought_tokens: int
    prompt_tokens: int
    audio_tokens: int  # of the prompt's
    duration_ms: int

    @property
    def way(self) -> tuple[str, str, str]:
        return self.model_id, self.schema_version, self.thinking_level

    @property
    def tokens_per_character(self) -> float:
        return self.answer_tokens / self.characters

    @property
    def mean(self) -> MeanTokens:
        return MeanTokens(
            self.characters / self.answers,
            self.answer_tokens / self.answers,
            self.thought_tokens / self.answers,
            self.prompt_tokens / self.answers,
            self.audio_tokens / self.answers,
        )


@dataclass(frozen=True, slots=True)
class MeanTokens:
    """Of one clip."""

    characters: float
    answer: float
    thoughts: float
    prompt: float
    audio: float  # of the prompt's


class SpendStats:
    """Reads `batch_hours`, `model_hours`, `provider_spend`, `clip_counts` and `token_counts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def days(self, days: int = 30) -> list[SpendDay]:
        """The last days, newest first."""
        return await self._database.rows(_QUERIES["days"], {"days": days}, SpendDay)

    async def hours(self, hours: int = 48) -> list[SpendHour]:
        """The last hours in which anything was sent, oldest first."""
        return await self._database.rows(_QUERIES["hours"], {"hours": hours}, SpendHour)

    async def metered_answers(self) -> list[MeteredAnswers]:
        """Tokens and characters of answers by language and way of asking, the commonest first."""
        return await self._database.rows(_QUERIES["metered"], {}, MeteredAnswers)

    async def models(self, days: int = 36_500) -> list[ModelSpend]:
        """The models of cascades in the last days, those that clips go up from first."""
        return await self._database.rows(_QUERIES["models"], {"days": days}, ModelSpend)

    async def summary(self) -> SpendSummary:
        return await self._database.row(_QUERIES["summary"], {}, SpendSummary)
