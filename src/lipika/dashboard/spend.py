"""The page on money spent: by day and provider, by kind of token, per clip; what the rest will cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from lipika.dashboard.board import board_of, render
from lipika.db.stats_spend import SpendDay, SpendHour
from lipika.models import AnswerForm

DAYS = 30
HOURS = 48


@dataclass(frozen=True, slots=True)
class TokenKinds:
    """Tokens by kind; the kinds add up to what is billed."""

    text: int
    audio: int
    cached: int
    spoken: int  # of the answers' text
    thoughts: int

    @classmethod
    def from_days(cls, rows: Sequence[SpendDay]) -> TokenKinds:
        cached = sum(row.cached_tokens for row in rows)
        audio = sum(row.audio_tokens for row in rows)
        # Cached tokens are the prompt's beginning, which is text.
        text = max(sum(row.prompt_tokens for row in rows) - audio - cached, 0)
        thoughts = sum(row.thought_tokens for row in rows)
        return cls(text, audio, cached, max(sum(row.output_tokens for row in rows) - thoughts, 0), thoughts)

    def parts(self) -> list[tuple[str, str, int]]:
        """(class, name, tokens)."""
        return [
            ("c6", "prompt text", self.text),
            ("c5", "prompt from cache", self.cached),
            ("c1", "audio", self.audio),
            ("c2", "answers", self.spoken),
            ("c3", "thoughts", self.thoughts),
        ]

    def shares(self) -> list[tuple[str, float]]:
        """(class, tokens), for a bar."""
        return [(name, float(tokens)) for name, _, tokens in self.parts()]


async def page(request: Request) -> Response:
    """The last thirty days and what lies ahead."""
    stats = board_of(request).stats
    days, summary, outlook, hours, metered = await asyncio.gather(
        stats.spend.days(DAYS),
        stats.spend.summary(),
        stats.queue.outlook(),
        stats.spend.hours(HOURS),
        stats.spend.metered_answers(),
    )
    now = datetime.now(UTC)
    context = {
        "title": "Spend",
        "now": now,
        "summary": summary,
        "projected": summary.projected_usd(outlook.clips_left),
        "outlook": outlook,
        "days": days,
        "tokens": TokenKinds.from_days(days),
        "tokens_of": lambda row: TokenKinds.from_days([row]),
        "hours": fill_hours(hours, now),
        "metered": metered,
        "form_of": AnswerForm.from_schema,
        "models": await stats.spend.models(DAYS),
    }
    return render(request, "spend.html", context)


def fill_hours(rows: Sequence[SpendHour], now: datetime) -> list[SpendHour]:
    """The last hours from the first in which something was asked, those in which nothing was spent too."""
    last = now.replace(minute=0, second=0, microsecond=0)
    known = {row.hour.astimezone(UTC): row for row in rows}
    shown = min(max((last - min(known, default=last)) // timedelta(hours=1) + 1, 1), HOURS)
    hours = (last - timedelta(hours=back) for back in reversed(range(shown)))
    return [known.get(hour) or SpendHour(hour, 0.0, 0) for hour in hours]
