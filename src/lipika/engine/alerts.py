"""The engine's words to who listens (`Events`) and to the log. The same thing is said once."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TypeVar

from lipika.engine.outcome import Alert, Events
from lipika.engine.route import Route
from lipika.log import get_logger, redact
from lipika.models import BatchReport, Failure

T = TypeVar("T")

log = get_logger(__name__)

_LOOK_EVERY_S = 0.5


class Alerts:
    """Alerts, finished batches, and why the queue waits. Who listens may fail; the engine goes on."""

    def __init__(self, events: Events, *, now: float):
        self._events = events
        self._versions: dict[str, list[str]] = {}  # by provider
        self._said = ""
        self._look_again_at = now

    def note_model(self, provider: str, version: str) -> None:
        """Alert when one provider begins to answer as another model than before."""
        known = self._versions.setdefault(provider, [])
        if version in known:
            return
        if known:
            before = ", ".join(known)
            self._alert(
                "model_changed",
                f"{provider} now answers as {version}, before as {before}: prices and quality may differ",
            )
        known.append(version)

    def note_flood(self, provider: str, other: str | None) -> None:
        """Over a tenth of the first provider's window was answered 429."""
        rest = f"the rest goes to {other}" if other else "waiting"
        self._alert("flood", f"{provider}: over 10 % of the window answered 429; {rest}")

    def note_park(self, route: Route, failure: Failure | None, now: float) -> None:
        """Alert of a provider that has just been parked or closed, or for another reason than before."""
        if route.parked_kind is None:
            return
        detail = f" ({failure.message})" if failure else ""
        if route.closed:
            self._alert("provider_closed", route.limited_by(now))
        else:
            self._alert("provider_parked", f"{route.limited_by(now)}{detail}")

    def log_wait(self, now: float, limited_by: Callable[[], str], queue: Sized) -> None:
        """Log once what the queue waits for, when it changes."""
        if now < self._look_again_at:
            return
        self._look_again_at = now + _LOOK_EVERY_S
        reason = limited_by()
        kind = "".join(character for character in reason if not character.isdigit())
        if kind != self._said:
            self._said = kind
            if reason:
                log.info("waiting", reason=reason, queued=len(queue))

    def report_corrected(self, report: BatchReport) -> None:
        """Hand on the report of a batch that had been reported before."""
        self._tell(self._events.on_batch, report)

    def report_closed(self, report: BatchReport) -> None:
        """Hand on the report of a batch whose attempts have all ended, and log it."""
        self._tell(self._events.on_batch, report)
        log.info(
            "batch",
            batch=report.batch_id,
            videos=len(report.video_ids),
            sent=report.segments_sent,
            returned=report.segments_returned,
            rate_limited=report.segments_429,
            errors=report.segments_error,
            retried=report.segments_retried,
            provider=report.provider_used,
            cache_hit_rate=round(report.usage.cached / max(report.usage.prompt, 1), 3),
            cost_usd=round(report.cost_usd, 6),
            avg_latency_ms=round(report.avg_latency_ms),
            p95_latency_ms=round(report.p95_latency_ms),
            duration_ms=report.batch_duration_ms,
        )

    def _alert(self, code: str, message: str) -> None:
        message = redact(message)
        log.warning(code, reason=message)
        self._tell(self._events.on_alert, Alert(code, message))

    def _tell(self, whom: Callable[[T], object], what: T) -> None:
        try:
            whom(what)
        except Exception:  # as the class says
            log.exception("event_not_taken", what=type(what).__name__)
