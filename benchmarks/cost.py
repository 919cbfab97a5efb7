"""What 100 million clips cost, today's way and with each lever: the table of docs/cost.md.

    python -m benchmarks.cost           # prints it and writes it there
    python -m benchmarks.cost --check   # only compares

Prompt and answers are the real ones, counted as the simulator counts tokens: by rule of thumb, not by Gemini's own
tokenizer. How much a model thinks is an assumption, and stated as one. One request a clip: nothing is asked again.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import fmean

import orjson

from lipika.languages import FIRST_CLASS
from lipika.llm.assumed import CLIP_S, THOUGHT_TOKENS
from lipika.llm.capabilities import Capabilities, load_capabilities
from lipika.llm.prompt import clip_prompt, system_prompt
from lipika.llm.transcript import response_schema
from lipika.models import AnswerForm, ServiceTier, Usage
from lipika.simulator.answers import known_fields, transcribe
from lipika.simulator.audio import SimulatedHearing
from lipika.simulator.config import SimulatorConfig
from lipika.simulator.schema import instance
from lipika.simulator.tokens import audio_tokens, text_tokens
from lipika.wording import percent

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cost.md"
BEGIN, END = "<!-- begin levers: written by python -m benchmarks.cost -->\n", "<!-- end levers -->\n"

CLIPS = 100_000_000
TARGET_USD = 40_000
THOUGHTS = (THOUGHT_TOKENS["low"], THOUGHT_TOKENS["minimal"])
"""Thought tokens of a clip that are assumed at thinking `low` and at `minimal`: metered on no real answer yet."""

MODEL = "gemini-3-flash-preview"
OTHER_MODELS = ("gemini-3.1-flash-lite", "gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash")
PRICES_OF = date(2026, 11, 29)
_SPEND_LIMIT_USD = 200.0  # per rolling ten minutes, of a tier-3 project
_ANSWERS_EACH = 200  # a language


@dataclass(frozen=True, slots=True)
class Tokens:
    """Mean tokens of a clip, thoughts aside. `schema` is not in `text`: see the page."""

    text: float
    audio: float
    answer: float
    schema: int


@dataclass(frozen=True, slots=True)
class Way:
    """One way of asking."""

    name: str
    form: AnswerForm = AnswerForm.FULL
    tier: ServiceTier = ServiceTier.STANDARD


WAYS = (
    Way("today: full answers, standard tier"),
    Way("lean answers", form=AnswerForm.LEAN),
    Way("Flex", tier=ServiceTier.FLEX),
    Way("lean answers and Flex", form=AnswerForm.LEAN, tier=ServiceTier.FLEX),
)


def count_tokens(form: AnswerForm) -> Tokens:
    """Tokens of a clip of `CLIP_S` in this form, the same weight for each of the twelve languages."""
    prompts = [text_tokens(system_prompt(language, form)) for language in FIRST_CLASS]
    answers = [text_tokens(text) for language in FIRST_CLASS for text in _answers(language, form)]
    own = text_tokens(clip_prompt(round(1000 * CLIP_S)))
    model = load_capabilities(MODEL)
    return Tokens(
        text=fmean(prompts) + own,
        audio=audio_tokens(CLIP_S, model.audio_tokens_per_second),
        answer=fmean(answers),
        schema=text_tokens(orjson.dumps(response_schema(form)).decode()),
    )


def _answers(language: str, form: AnswerForm) -> Iterator[str]:
    """What the simulator says of clips of that length: the same in either form."""
    heard = SimulatedHearing(b"", CLIP_S, CLIP_S - 0.3, silent=False)
    rate = SimulatorConfig().event_tag_rate
    for seed in range(_ANSWERS_EACH):
        rng = random.Random(f"{language} {seed}")
        answer = transcribe(heard, language, rng, event_tag_rate=rate)
        yield orjson.dumps(instance(response_schema(form), known_fields(answer), rng)).decode()


def usd(tokens: Tokens, thoughts: float, model: Capabilities, tier: ServiceTier) -> float:
    """Dollars for 100 million clips that take so many thought tokens each."""
    million = 1_000_000  # of each clip's tokens: whole numbers, without rounding a clip's
    text, audio = round(tokens.text * million), round(tokens.audio * million)
    output = round((tokens.answer + thoughts) * million)
    usage = Usage(text + audio, text, audio, output=output, thoughts=round(thoughts * million))
    return model.cost_usd(usage, tier) / million * CLIPS


def break_even(tokens: Tokens, model: Capabilities, tier: ServiceTier) -> float | None:
    """The thought tokens of a clip up to which the target holds; None where it is missed without a single one."""
    floor, step = usd(tokens, 0, model, tier), usd(tokens, 1, model, tier) - usd(tokens, 0, model, tier)
    return None if floor > TARGET_USD else (TARGET_USD - floor) / step


# ----------------------------------------------------------------------------- the page


def table() -> str:
    """What stands between the markers of docs/cost.md."""
    tokens = {form: count_tokens(form) for form in AnswerForm}
    model = load_capabilities(MODEL, today=PRICES_OF)
    lean = tokens[AnswerForm.LEAN]
    parts = (
        [_say_tokens(tokens)],
        _table_of_ways(tokens, model),
        [_say_target(tokens, model)],
        [
            "The same with other models, lean answers and Flex; whether they hear as well only a canary can say:"
        ],
        _table_of_models(lean),
        [_say_schema(tokens, model)],
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _say_tokens(tokens: Mapping[AnswerForm, Tokens]) -> str:
    full, lean = tokens[AnswerForm.FULL], tokens[AnswerForm.LEAN]
    share = percent(lean.answer / full.answer)
    return (
        f"A clip of {CLIP_S:g} s: {full.audio:,.0f} tokens of audio, {full.text:,.0f} of prompt ({lean.text:,.0f} for"
        f" lean answers), {full.answer:.0f} of answer ({lean.answer:.0f}, which is {share}). Prices of {PRICES_OF}."
    )


def _say_target(tokens: Mapping[AnswerForm, Tokens], model: Capabilities) -> str:
    today = usd(tokens[AnswerForm.FULL], THOUGHTS[0], model, ServiceTier.STANDARD)
    best = usd(tokens[AnswerForm.LEAN], THOUGHTS[1], model, ServiceTier.FLEX)
    return (
        f"The target is ${TARGET_USD:,} at {THOUGHTS[1]} thought tokens, and it is"
        f" {'met' if best <= TARGET_USD else 'MISSED'}: lean answers, Flex and `THINKING_LEVEL=minimal` cost"
        f" ${best:,.0f}, {percent(best / today)} of today's way."
    )


def _say_schema(tokens: Mapping[AnswerForm, Tokens], model: Capabilities) -> str:
    full, lean = (tokens[form].schema for form in AnswerForm)
    full_usd, lean_usd = (count * model.text_usd / 1_000_000 * CLIPS for count in (full, lean))
    best = usd(tokens[AnswerForm.LEAN], THOUGHTS[1], model, ServiceTier.FLEX)
    holds = best + lean_usd * model.flex_factor <= TARGET_USD
    return (
        f"The answer's schema ({full} and {lean} tokens) travels in a field of its own, and nobody says that it is"
        f" billed. If it is, as prompt, full answers cost ${full_usd:,.0f} more and lean ones ${lean_usd:,.0f}, at"
        f" Flex half of it; the target {'holds even so' if holds else 'is missed then'}."
    )


def _table_of_ways(tokens: Mapping[AnswerForm, Tokens], model: Capabilities) -> Iterator[str]:
    low, minimal = THOUGHTS
    yield (
        f"| `{MODEL}` | {low} thought tokens (`low`) | {minimal} (`minimal`) | ${TARGET_USD:,} holds up to |"
        f" clips a minute under ${_SPEND_LIMIT_USD:,.0f} per 10 minutes |"
    )
    yield "|---|---|---|---|---|"
    for way in WAYS:
        costs = [usd(tokens[way.form], thoughts, model, way.tier) for thoughts in THOUGHTS]
        rates = " to ".join(f"{_SPEND_LIMIT_USD / 10 / (cost / CLIPS):,.0f}" for cost in costs)
        yield (
            f"| {way.name} | {' | '.join(f'${cost:,.0f}' for cost in costs)} |"
            f" {_in_words(break_even(tokens[way.form], model, way.tier))} | {rates} |"
        )


def _table_of_models(lean: Tokens) -> Iterator[str]:
    yield f"| model | {THOUGHTS[0]} thought tokens | {THOUGHTS[1]} | ${TARGET_USD:,} holds up to | |"
    yield "|---|---|---|---|---|"
    for name in OTHER_MODELS:
        model = load_capabilities(name, today=PRICES_OF)
        costs = [usd(lean, thoughts, model, ServiceTier.FLEX) for thoughts in THOUGHTS]
        note = f"x {model.then_factor:g} after {model.price_until}" if model.price_until else ""
        if "minimal" not in model.thinking_levels:
            note = "; ".join(["`minimal` is refused", *([note] if note else [])])
        yield (
            f"| `{name}` | {' | '.join(f'${cost:,.0f}' for cost in costs)} |"
            f" {_in_words(break_even(lean, model, ServiceTier.FLEX))} | {note} |"
        )


def _in_words(thoughts: float | None) -> str:
    return "-" if thoughts is None else f"{int(thoughts):,} thought tokens"


def with_table(page: str) -> str:
    """The page with the table as it is now."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if the page is another"
    )
    options = parser.parse_args(arguments)
    page = PAGE.read_text("utf-8")
    now = with_table(page)
    print(now.split(BEGIN)[1].split(END)[0])
    if not options.check:
        PAGE.write_text(now, "utf-8")
    return int(options.check and page != now)


if __name__ == "__main__":
    sys.exit(main())
