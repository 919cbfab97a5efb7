"""A clip in the words of NeMo Curator, so that its stages read what ours has found. Pure."""

from __future__ import annotations

from lipika.models import ClipResult

CURATOR_KEYS = (
    "primary_model_prediction",
    "fallback_model_prediction",
    "primary_fallback_agreement_wer",
    "primary_fallback_agreement_metric",
    "_skipme",
    "additional_notes",
)
"""Fields of a row as Curator's audio stages name them (`SelectBestPredictionStage`)."""


def curator_fields(result: ClipResult) -> dict[str, object]:
    """The clip's text beside another, with the widest gap among its voters; nothing where they were not weighed.

    Curator's agreement is an error rate in percent under a key that ends in `wer` whatever the metric, which it names
    beside; `_skipme` is empty for what may be used: the `asr` lane.
    """
    answer, verdict, consensus = result.answer, result.verdict, result.consensus
    if answer is None or verdict is None or consensus is None:
        return {}
    return {
        "primary_model_prediction": answer.transcription,
        "fallback_model_prediction": _fallback(result),
        "primary_fallback_agreement_wer": round(100 * consensus.distance, 2),
        "primary_fallback_agreement_metric": "cer",
        "_skipme": "" if verdict.asr.eligible else ", ".join(verdict.asr.reasons) or "asr",
        "additional_notes": {
            "tier": consensus.tier,
            "disagree_most": consensus.between,
            "voters": consensus.voters,
        },
    }


def _fallback(result: ClipResult) -> str:
    """The text that the recogniser heard, else the first other one."""
    if result.alignment is not None and result.alignment.heard:
        return result.alignment.heard
    return result.voters[0].text if result.voters else ""
