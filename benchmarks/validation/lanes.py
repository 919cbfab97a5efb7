"""What protects a user: for each kind of damage the share that stays eligible in each lane, and the share retried."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.validation.corpus import sentences
from benchmarks.validation.damage import DAMAGES, UNKNOWABLE, Said
from benchmarks.validation.forms import FORMS, REPETITION, ordinary
from lipika.languages import FIRST_CLASS
from lipika.models import Advice, Answer, Clip, Severity, Verdict
from lipika.validation import retry_advice, validate

NEIGHBOURS = {"as": "bn", "bn": "as", "hi": "mr", "mr": "hi"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to judge. `correct`: nothing is wrong with it."""

    kind: str
    correct: bool
    language: str
    said: str
    text: str
    verdict: Verdict

    @property
    def is_retried(self) -> bool:
        return retry_advice(self.verdict) is not Advice.KEEP

    @property
    def is_failed(self) -> bool:
        return any(found.severity is Severity.FAIL for found in self.verdict.findings)


@dataclass(slots=True)
class Tally:
    """Counts of one kind and language."""

    cases: int = 0
    open: Counter[str] = field(default_factory=Counter)  # lane -> cases that stay eligible
    retried: int = 0
    unprotected: int = 0  # eligible for `asr`, and no second look is bought
    failed: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Sample) -> None:
        verdict = sample.verdict
        self.cases += 1
        lanes = {"asr": verdict.asr, "tts_clean": verdict.tts_clean, "tts_expressive": verdict.tts_expressive}
        self.open.update(name for name, lane in lanes.items() if lane.eligible)
        self.retried += sample.is_retried
        self.unprotected += verdict.asr.eligible and not sample.is_retried
        self.failed += sample.is_failed
        self.codes.update({found.code for found in verdict.findings})

    def share(self, lane: str = "asr") -> float:
        return self.open[lane] / self.cases


Tallies = dict[tuple[str, bool, str], Tally]
"""(kind, correct, language) -> counts."""


def own_text() -> Mapping[str, Sequence[str]]:
    """The benchmark's own sentences, where no real ones are given."""
    return {code: [one.text for one in sentences(code) if not one.mixed] for code in FIRST_CLASS}


def samples(text: Mapping[str, Sequence[str]], each: int, seed: str = "lanes") -> Iterator[Sample]:
    """Every form and every damage of `each` sentences a language."""
    for language in FIRST_CLASS:
        chance = random.Random(f"{seed} {language}")
        chosen = chance.sample(text[language], min(each, len(text[language])))
        for sentence in chosen:
            others = tuple(chance.sample(text[language], min(4, len(text[language]))))
            neighbour = tuple(text.get(NEIGHBOURS.get(language, ""), ()))
            yield from _of_sentence(Said(sentence, language, others, neighbour, chance))


def _of_sentence(said: Said) -> Iterator[Sample]:
    for kind, form in FORMS.items():
        made = form(said)
        if made is not None:
            yield _judge(kind, True, said, made.text, made.tagged or made.text, made.clip)
    clip = ordinary(said, said.text).clip
    for kind, damage in DAMAGES.items():
        text = damage(said)
        if text is not None and text != said.text:
            yield _judge(kind, False, said, text, text, clip)


def _judge(kind: str, correct: bool, said: Said, text: str, tagged: str, clip: Clip) -> Sample:
    answer = Answer(text, tagged, said.language, "neutral", "conversational", "moderate", "unknown")
    return Sample(kind, correct, said.language, said.text, text, validate(answer, clip, said.language))


def tally(judged: Iterable[Sample]) -> Tallies:
    counts: Tallies = defaultdict(Tally)
    for sample in judged:
        counts[(sample.kind, sample.correct, sample.language)].add(sample)
    return counts


def merged(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for part in tallies:
        whole.cases += part.cases
        whole.open.update(part.open)
        whole.retried += part.retried
        whole.unprotected += part.unprotected
        whole.failed += part.failed
        whole.codes.update(part.codes)
    return whole


def area_under_curve(clean: Sequence[float], damaged: Sequence[float]) -> float:
    """The chance that a clean text has a higher score than a damaged one; ties count half."""
    ranked = sorted([(score, 1) for score in clean] + [(score, 0) for score in damaged])
    rank_sum, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        rank = (at + 1 + end) / 2
        rank_sum += rank * sum(is_clean for _score, is_clean in ranked[at:end])
        at = end
    return (rank_sum - len(clean) * (len(clean) + 1) / 2) / (len(clean) * len(damaged))


# ----------------------------------------------------------------------------- figures

Figures = dict[str, dict[str, float]]
"""Kind -> measure -> share."""

MEAN_OPEN, MOST_OPEN, MOST_LOST, MOST_LOST_OF_A_LANGUAGE, LEAST_AREA = 0.05, 0.20, 0.003, 0.01, 0.95
LEAST_KEPT = 0.98  # of true repetition
PROTECTED = {"30 % left": 0.95, "30 % left, a stop": 0.95, "40 % left": 0.75, "40 % left, a stop": 0.75}


@dataclass(frozen=True, slots=True)
class LaneResult:
    """What was measured: by kind, over all, and by language."""

    damaged: Figures
    correct: Figures
    lost_by_language: dict[str, float]  # correct texts that lose `asr`
    cases: int
    mean_open: float  # of the kinds that can be known
    lost: float
    area: float

    def missed_targets(self, *, real: bool = True) -> list[str]:
        """Targets that are not met, as sentences. How many words may be missing is a question for real text."""
        checks = {
            f"damaged texts open for asr: {self.mean_open:.3f} > {MEAN_OPEN}": self.mean_open > MEAN_OPEN,
            f"correct texts that lose asr: {self.lost:.4f} > {MOST_LOST}": self.lost > MOST_LOST,
            f"area under the curve: {self.area:.3f} < {LEAST_AREA}": self.area < LEAST_AREA,
        }
        for kind, held in self.damaged.items():
            known = kind not in UNKNOWABLE
            checks[f"{kind}: {held['asr']:.3f} > {MOST_OPEN}"] = known and held["asr"] > MOST_OPEN
            least = PROTECTED.get(kind, 0.0) if real else 0.0
            checks[f"{kind}: {held['protected']:.3f} protected < {least}"] = held["protected"] < least
        for kind in REPETITION:
            kept = 1 - self.correct[kind]["lost"]
            checks[f"{kind}: {kept:.3f} kept < {LEAST_KEPT}"] = kept < LEAST_KEPT
        for language, share in self.lost_by_language.items():
            checks[f"correct {language} that lose asr: {share:.4f}"] = share > MOST_LOST_OF_A_LANGUAGE
        return [told for told, missed in checks.items() if missed]


def measure_lanes(text: Mapping[str, Sequence[str]], each: int, seed: str = "lanes") -> LaneResult:
    """Judge `each` sentences a language in every form and with every damage."""
    judged = list(samples(text, each, seed))
    counts = tally(judged)
    damaged = {kind: _of_kind(counts, kind, correct=False) for kind in DAMAGES}
    correct = {kind: _of_kind(counts, kind, correct=True) for kind in FORMS}
    good = [sample for sample in judged if sample.correct]
    bad = [sample for sample in judged if not sample.correct and sample.kind not in UNKNOWABLE]
    known = [part.share() for kind, part in damaged.items() if kind not in UNKNOWABLE]
    return LaneResult(
        damaged={kind: _damage_figures(part) for kind, part in damaged.items()},
        correct={kind: _form_figures(part) for kind, part in correct.items()},
        lost_by_language={
            language: _share(not one.verdict.asr.eligible for one in good if one.language == language)
            for language in FIRST_CLASS
        },
        cases=len(judged),
        mean_open=round(sum(known) / len(known), 4),
        lost=_share(not one.verdict.asr.eligible for one in good),
        area=round(
            area_under_curve(
                [one.verdict.quality_score for one in good], [one.verdict.quality_score for one in bad]
            ),
            4,
        ),
    )


def _of_kind(counts: Tallies, kind: str, *, correct: bool) -> Tally:
    return merged(
        part for (name, is_correct, _), part in counts.items() if (name, is_correct) == (kind, correct)
    )


def _damage_figures(part: Tally) -> dict[str, float]:
    return {
        "asr": round(part.share(), 4),
        "tts_clean": round(part.share("tts_clean"), 4),
        "tts_expressive": round(part.share("tts_expressive"), 4),
        "retried": round(part.retried / part.cases, 4),
        "protected": round(1 - part.unprotected / part.cases, 4),
    }


def _form_figures(part: Tally) -> dict[str, float]:
    return {
        "lost": round(1 - part.share(), 4),
        "failed": round(part.failed / part.cases, 4),
        "retried": round(part.retried / part.cases, 4),
    }


def _share(truths: Iterable[bool]) -> float:
    held = list(truths)
    return round(sum(held) / len(held), 4)
