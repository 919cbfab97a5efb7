"""The better of two answers that are paid for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

from lipika.engine.batches import Batch
from lipika.engine.outcome import Outcome
from lipika.engine.tickets import PaidAnswer, Ticket
from lipika.llm.provider import TranscriptionRequest, TranscriptionResponse
from lipika.models import Judged
from lipika.validation import validate
from verdict_kit import answer, clip

SENTENCE = "उन्होंने कहा कि सरकार इस साल किसानों के लिए नई योजना लाएगी और उसका लाभ सबको मिलेगा।"


def paid(text: str) -> PaidAnswer:
    given, heard = answer(text), clip(8_000)
    judged = Judged(given, validate(given, heard, "hi"))
    return PaidAnswer(judged, cast("TranscriptionResponse", None), cast("Batch", None))


async def test_more_text_is_no_better_answer() -> None:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    twice, once = paid(f"{SENTENCE} {SENTENCE}"), paid(SENTENCE)
    assert once.judged.verdict.findings == ()
    for answers in ((twice, once), (once, twice)):
        ticket = Ticket(cast("TranscriptionRequest", None), lambda _text, _asked: None, print, done)  # type: ignore[arg-type,return-value]
        for each in answers:
            ticket.remember(each)
        assert ticket.best is once
    better = replace(
        once, judged=replace(once.judged, verdict=replace(once.judged.verdict, quality_score=1.0))
    )
    assert better.rank > once.rank, "then the score"
