"""The answers of a cascade to one clip: which of them is doubted, and which is kept. Pure."""

from __future__ import annotations

from dataclasses import replace

from lipika import validation
from lipika.models import Advice, AskedModel, ClipResult, Judged


def is_doubted(result: ClipResult) -> bool:
    """True if the next model of a cascade is asked for such a clip: its answer may be wrong, or there is none."""
    verdict = result.verdict
    if verdict is None:
        return True
    return not validation.acceptable(verdict) or validation.retry_advice(verdict) is not Advice.KEEP


def rank(result: ClipResult) -> tuple[bool, bool, float]:
    """The better of two results has the higher one; a failure has the lowest."""
    if result.answer is None or result.verdict is None:
        return False, False, -1.0
    return Judged(result.answer, result.verdict).rank


def join(former: ClipResult | None, new: ClipResult, *, own: bool) -> ClipResult:
    """The better of an earlier answer and a new one of a better model, the other beside it; and who was asked.

    `own`: the earlier one is stored as this clip's. Else it is stored elsewhere, and stays there.
    """
    if former is None:
        return new
    former = replace(former, reused=False)
    asked = (*_list_asked(former, because=_list_codes(former)), *_list_asked(new))
    attempts = new.provenance.attempts + (former.provenance.attempts if own else 0)
    if rank(former) < rank(new):
        provenance = replace(new.provenance, cascade=asked, attempts=attempts)
        return replace(new, provenance=provenance, aside=(*new.aside, *((former,) if own else ())))
    kept = replace(former, provenance=replace(former.provenance, cascade=asked, attempts=attempts))
    if new.answer is not None:
        return replace(kept, aside=(*new.aside, replace(new, aside=())))
    usage, usd = former.usage + new.usage, former.cost_usd + new.cost_usd  # what failed has left nothing else
    return replace(kept, usage=usage, cost_usd=usd, aside=new.aside)


def _list_asked(result: ClipResult, because: str = "") -> tuple[AskedModel, ...]:
    source = result.provenance
    if source.cascade:
        return source.cascade
    failure = result.failure
    because = because or (failure.code or str(failure.kind) if failure is not None else "")
    answered = failure is None or failure.rule.is_the_clips
    return (AskedModel(source.model_id, result.cost_usd, because, answered),)


def _list_codes(result: ClipResult) -> str:
    return ", ".join(found.code for found in result.verdict.findings) if result.verdict is not None else ""
