"""The ends of clips: each gets one outcome, is counted, and what was paid for reaches its caller in any case."""

from __future__ import annotations

from lipika.engine.alerts import Alerts
from lipika.engine.batches import Batch, Windows
from lipika.engine.outcome import Outcome, Totals
from lipika.engine.tickets import PaidAnswer, Ticket
from lipika.errors import Draining, WorkerStop
from lipika.llm.provider import TranscriptionResponse
from lipika.log import get_logger
from lipika.models import Failure, FailureKind

log = get_logger(__name__)

_NOWHERE = Failure(FailureKind.SERVER, "no provider can be asked any more", code="nowhere")


class Endings:
    """Ends clips, well or not, and counts them. An answer that was doubted before is better than none."""

    def __init__(self, windows: Windows, totals: Totals, alerts: Alerts):
        self._windows = windows
        self._totals = totals
        self._alerts = alerts

    def end_well(self, ticket: Ticket, answer: PaidAnswer) -> None:
        """End a clip with this answer."""
        answer.batch.note_acceptance(answer.judged)
        if not self._windows.is_open(
            answer.batch
        ):  # its row is there already, from before a later attempt failed
            self._alerts.report_corrected(answer.batch.report())
        self._totals.returned += 1
        if not ticket.is_over:
            ticket.done.set_result(ticket.outcome(answer.batch, answer.response, answer.judged, None))

    def fail(self, ticket: Ticket, batch: Batch, response: TranscriptionResponse, failure: Failure) -> None:
        """End a clip without a new answer."""
        if ticket.accounts and not ticket.accounts[-1].because:
            ticket.accounts[-1].because = failure.code or str(failure.kind)
        if ticket.best is not None:
            self.end_well(ticket, ticket.best)
            return
        self._totals.failed += 1
        if not ticket.is_over:
            ticket.done.set_result(ticket.outcome(batch, response, None, failure))

    def end_as_it_stands(self, ticket: Ticket) -> None:
        """End a clip that nobody will be asked about any more."""
        if ticket.last_batch is not None and ticket.last_response is not None:
            failure = ticket.refusal or ticket.last_response.failure or _NOWHERE
            self.fail(ticket, ticket.last_batch, ticket.last_response, failure)

    def stop(self, ticket: Ticket, reason: WorkerStop | Draining | None) -> None:
        """End a clip because nothing more is asked for any."""
        if ticket.is_over:
            return
        if ticket.best is not None:
            self.end_well(ticket, ticket.best)
        else:
            ticket.done.set_exception(copy_of(reason or Draining("the engine has been closed")))


def copy_of(reason: WorkerStop | Draining) -> WorkerStop | Draining:
    """One for each waiter: one instance raised a thousand times would drag a thousand tracebacks along."""
    return type(reason)(*reason.args)


def hand_over_best(ticket: Ticket) -> None:
    """Give an answer that is paid for to its caller, who may have ended meanwhile; the clip goes on."""
    if (best := ticket.best) is not None:
        _give(ticket, ticket.outcome(best.batch, best.response, best.judged, None))


def hand_over_end(ticket: Ticket) -> None:
    """Give the answer that has ended a clip to a caller who was cancelled in the same turn of the event loop."""
    done = ticket.done
    if done.done() and not done.cancelled() and done.exception() is None and done.result().judged is not None:
        _give(ticket, done.result())


def _give(ticket: Ticket, paid: Outcome) -> None:
    try:
        ticket.on_doubt(paid)
    except Exception:  # the caller's trouble is the clip's, not the engine's
        log.exception("doubted_answer_not_kept", clip=ticket.request.clip_id)
