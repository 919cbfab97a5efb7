"""Second opinions: which clips another model is asked for, and what is kept of its answers. The same beside the work
of a worker and afterwards, by `lipika vote out/ --ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lipika.alignment.voters import model_voter
from lipika.config import Settings, plain_model, require_key
from lipika.db.voters import SecondAnswer
from lipika.engine.outcome import Circumstances, Outcome, Review
from lipika.errors import UsageError
from lipika.languages import FIRST_CLASS, find_language
from lipika.llm import prompt, transcript
from lipika.models import AnswerForm, ClipResult, Failure, Judged, Tier, Voter
from lipika.pipeline import question
from lipika.validation import RULES, Bands
from lipika.validation.catalogue import ScorePart

_HASHED = 1 << 32


@dataclass(frozen=True, slots=True)
class OpinionPlan:
    """The model that is asked, and the share of the clips."""

    model_id: str
    temperature: float | None
    thinking_level: str
    share: float
    answer: AnswerForm = field(default=AnswerForm.FULL, kw_only=True)

    @property
    def way(self) -> dict[str, object]:
        """The way of asking, as answers are stored by it."""
        return {
            "model_id": self.model_id,
            "temperature": self.temperature,
            "thinking_level": self.thinking_level,
            "prompt_version": prompt.prompt_version(self.answer),
            "schema_version": transcript.schema_version(self.answer),
        }

    def voter(self, text: str) -> Voter:
        versions = (prompt.prompt_version(self.answer), transcript.schema_version(self.answer))
        return model_voter(text, self.model_id, self.temperature, self.thinking_level, *versions)


def wants_opinion(result: ClipResult, plan: OpinionPlan) -> bool:
    """True for a clip of the sample, the same clips every time, and for one in doubt."""
    language = find_language(result.answer.detected_language if result.answer else None) or find_language(
        result.language_hint
    )
    if result.answer is None or language is None or language.code not in FIRST_CLASS:
        return False
    if not result.provenance.asked or any(voter.digest == plan.voter("").digest for voter in result.voters):
        return False
    return _is_doubted(result) or int(result.clip.audio_digest[:8], 16) < plan.share * _HASHED


def _is_doubted(result: ClipResult) -> bool:
    findings = result.verdict.findings if result.verdict else ()
    found = any(
        (rule := RULES.get(one.code)) is not None and rule.part is ScorePart.ALIGNMENT for one in findings
    )
    return found or (result.consensus is not None and result.consensus.tier is Tier.BRONZE)


def reviewer_of(result: ClipResult, bands: Bands) -> Callable[[str, Circumstances], Review | Failure]:
    """Reviews what another says of a clip. There is no third provider to switch to."""

    def review(text: str, asked: Circumstances) -> Review | Failure:
        alone = Circumstances(asked.varied, switched=True)
        return question.review(text, result.clip, result.language_hint or None, bands, alone)

    return review


def second_answer(result: ClipResult, plan: OpinionPlan, outcome: Outcome, judged: Judged) -> SecondAnswer:
    """The row of another model's answer to a clip's audio."""
    return SecondAnswer(
        audio_digest=result.clip.audio_digest,
        provider=outcome.provider,
        model_id=plan.model_id,
        model_version=outcome.model_version,
        temperature=plan.temperature,
        thinking_level=plan.thinking_level,
        prompt_version=prompt.prompt_version(plan.answer),
        schema_version=transcript.schema_version(plan.answer),
        language_hint=result.language_hint,
        answer=judged.answer,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
    )


def settings_of_opinions(settings: Settings) -> Settings:
    """The settings with the second model and its provider in the places of the first.

    Raises:
        UsageError: no model is named, or it is the one whose answers are to be held against it.
        SettingsError: the provider has no key.
    """
    asked = [plain_model(name) for name in settings.models]
    if plain_model(settings.second_opinion_model) in ("", *asked):
        raise UsageError(
            "SECOND_OPINION_MODEL: name another model; MODEL_ID and those of a CASCADE would only repeat themselves,"
            " whoever serves them"
        )
    name = settings.second_opinion_provider or settings.real_provider
    chosen = settings.model_copy(
        update={"model_id": settings.second_opinion_model, "cascade": "", "provider": name}
    )
    if settings.provider != "simulator":  # beside which nobody else is asked
        require_key(chosen)
    return chosen
