"""The settings of stored answers against those of today: alike, or what differs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lipika.audio import polish
from lipika.config import plain_model
from lipika.db.result_rows import StoredAnswer
from lipika.llm import prompt, transcript
from lipika.llm.own_prompt import NOTHING_OWN, OwnPrompt
from lipika.models import AnswerForm, PolishedClip, Was
from lipika.wording import money


@dataclass(frozen=True, slots=True)
class AskedAs:
    """The settings of a request, stored with each result. An earlier answer is used again only if they are equal.

    In a cascade `model_id` is asked first, and those `above` for what is doubted: an answer may be of any of them.
    """

    model_id: str
    temperature: float | None
    thinking_level: str
    simulated: bool | None = None  # whether answers are made up; None: nobody knows, and all count as alike
    answer: AnswerForm = AnswerForm.FULL
    above: tuple[str, ...] = ()
    own: OwnPrompt = NOTHING_OWN

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model_id, *self.above)

    def step_of(self, model_id: str) -> int:
        """The place of a model among those that are asked; -1 where it is none of them."""
        names = [plain_model(name) for name in self.models]
        name = plain_model(model_id)
        return names.index(name) if name in names else -1


@dataclass(frozen=True, slots=True)
class Difference:
    """The reason why an answer cannot be used again: what differs, as it was and as it is."""

    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} {self.was or 'none'} then, {self.now or 'none'} now"


def difference(was: Was, asked: AskedAs, language: str | None) -> Difference | None:
    """The difference that forbids to use an answer for the very same audio; None where nothing does.

    Another hint forbids it only where the clip was not heard in the language that is hinted at now: what was heard
    right stays right, and a wrong hint may be mended without paying for it again. Where nobody speaks there is no
    language to mishear; an answer of that kind to lively audio has been doubted and asked for twice already.
    """
    return chosen_difference(was, asked, language) or _version_difference(was, asked, language)


def chosen_difference(was: Was, asked: AskedAs, language: str | None) -> Difference | None:
    """The part of `difference` that a person has chosen, unlike the versions of our own prompt and schema."""
    if asked.simulated not in (None, was.made_up):
        return Difference("simulated", _yes(was.made_up), _yes(not was.made_up))
    if asked.step_of(was.model_id) < 0:
        return Difference("model", was.model_id, ", then ".join(asked.models))
    if _round_temperature(was.temperature) != _round_temperature(asked.temperature):
        return Difference("temperature", _degrees(was.temperature), _degrees(asked.temperature))
    if was.thinking_level != asked.thinking_level:
        return Difference("thinking level", was.thinking_level, asked.thinking_level)
    form = transcript.form_of(was.schema_version)
    if form not in (None, asked.answer):
        return Difference("answer", str(form), asked.answer)
    return hint_difference(was, language)


def hint_difference(was: Was, language: str | None) -> Difference | None:
    """Another hint, where the clip was not heard in the language that is hinted at now."""
    hint = language or ""
    heard_right = was.no_speech or was.detected_language == (hint or was.language_hint)
    if was.language_hint != hint and not heard_right:
        return Difference("language hint", was.language_hint, hint)
    return None


def _version_difference(was: Was, asked: AskedAs, language: str | None) -> Difference | None:
    now = prompt.prompt_version(asked.answer, own=asked.own, language=language)
    if was.prompt_version != now:
        return Difference("prompt version", was.prompt_version, now)
    now = transcript.schema_version(asked.answer)
    return Difference("schema version", was.schema_version, now) if was.schema_version != now else None


def other_cut(was: Was) -> Difference | None:
    """That another trimmer made the clip: if it cuts otherwise now, its answer belongs to audio that is no more."""
    if was.trimmer_version != polish.TRIMMER_VERSION:
        return Difference("trimmer version", was.trimmer_version, polish.TRIMMER_VERSION)
    return None


@dataclass(slots=True)
class Lost:
    """Answers that were paid for and would be paid for again."""

    clips: int = 0
    usd: float = 0.0
    because: Counter[str] = field(default_factory=Counter)

    def add(self, reason: Difference, clips: int, usd: float) -> None:
        self.clips += clips
        self.usd += usd
        self.because[str(reason)] += clips

    def join(self, other: Lost) -> None:
        self.clips += other.clips
        self.usd += other.usd
        self.because.update(other.because)

    def __str__(self) -> str:
        answers = f"{self.clips:,} answers" if self.clips != 1 else "1 answer"
        reasons = "; ".join(reason for reason, _ in self.because.most_common(3))
        return f"{answers} that cost {money(self.usd)} ({reasons})"


def count_lost(
    answers: Iterable[tuple[Was, int, float]],
    asked: AskedAs,
    language: str | None,
    *,
    hint_known: bool = True,
) -> Lost:
    """The part of earlier answers (how they were asked, clips, dollars) that would be paid for again.

    Made-up answers cost nothing where real ones are asked for. Without `hint_known` hints are not compared: the
    archive will tell.
    """
    found = Lost()
    for was, clips, usd in answers:
        if was.made_up and asked.simulated is False:
            continue
        hint = language if hint_known else was.language_hint
        reason = difference(was, asked, hint) or other_cut(was)
        if reason is not None:
            found.add(reason, clips, usd)
    return found


def last_step(former: StoredAnswer, asked: AskedAs) -> int:
    """The last model of a cascade that has been asked for what this answer belongs to."""
    seen = [one.model_id for one in former.provenance.cascade if one.answered]
    return max(asked.step_of(name) for name in (former.provenance.model_id, *seen))


def fits(former: StoredAnswer, asked: AskedAs, language: str | None) -> bool:
    """True for an answer that may be used again for the very same audio."""
    return (
        former.answer is not None
        and former.provenance.asked
        and difference(was_of(former), asked, language) is None
    )


@dataclass(slots=True)
class EarlierAnswers:
    """Paid answers of a video's former attempts by the digest of their audio, and how many could be used again."""

    answers: dict[str, StoredAnswer]
    asked: AskedAs
    reused: int = 0
    outdated: Counter[str] = field(default_factory=Counter)  # those that do not fit any more, by reason

    def list_outdated(self, language: str | None) -> list[str]:
        """Digests of those that do not fit how clips are asked now."""
        return [digest for digest, former in self.answers.items() if not fits(former, self.asked, language)]

    def replace(self, found: Mapping[str, StoredAnswer]) -> None:
        """Take answers of another time in the places of those that do not fit, by digest."""
        former = self.answers
        self.answers = former | {
            digest: replace(stored, trimmer_version=former[digest].trimmer_version)
            for digest, stored in found.items()
            if digest in former
        }

    def count_paid_again(self, language: str | None) -> Lost:
        """Those that would be paid for again."""
        paid = (
            (was_of(former), 1, former.cost_usd)
            for former in self.answers.values()
            if former.answer is not None and former.provenance.asked
        )
        return count_lost(paid, self.asked, language)

    def find(self, audio_digest: str, language: str | None) -> StoredAnswer | None:
        """The answer to the very same audio, prompt and model; counted, whether it fits or not."""
        former = self.answers.get(audio_digest)
        if former is None or former.answer is None or not former.provenance.asked:
            return None
        other = difference(was_of(former), self.asked, language)
        if other is not None:
            self.outdated[other.what] += 1
            return None
        self.reused += 1
        return former

    def rename_known(self, polished: PolishedClip) -> PolishedClip:
        """The clip under that digest which earlier rows have it by: what people have said of it goes by that, too."""
        clip, other = polished.clip, polished.other_digest
        if clip.audio_digest in self.answers or other not in self.answers:
            return polished
        return replace(polished, clip=replace(clip, audio_digest=other), other_digest=clip.audio_digest)

    def reasons_not_reused(self) -> dict[str, int]:
        """The numbers of those that could not be used, by reason."""
        other_cuts = sum(answer.trimmer_version != polish.TRIMMER_VERSION for answer in self.answers.values())
        if other_cuts:
            self.outdated["trimmer version"] = other_cuts
        return {f"other {reason}": count for reason, count in sorted(self.outdated.items())}


def _round_temperature(temperature: float | None) -> float | None:
    return (
        None if temperature is None else round(temperature, 4)
    )  # a database may keep it in single precision


def _degrees(temperature: float | None) -> str:
    return "the model's own" if temperature is None else f"{temperature:g}"


def _yes(made_up: bool) -> str:
    return "yes" if made_up else "no"


def was_of(former: StoredAnswer) -> Was:
    """The way in which a stored answer was asked for, and what was heard."""
    how, answer = former.provenance, former.answer
    return Was(
        how.model_id,
        how.model_version,
        how.temperature,
        how.thinking_level,
        how.prompt_version,
        how.schema_version,
        former.trimmer_version,
        former.language_hint,
        answer.detected_language if answer else "",
        answer is not None and answer.no_speech,
    )
