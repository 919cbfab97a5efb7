"""What 100 million clips cost: the arithmetic, the target, and that docs/cost.md says what is computed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.cost import (
    MODEL,
    PAGE,
    PRICES_OF,
    TARGET_USD,
    WAYS,
    Tokens,
    break_even,
    count_tokens,
    main,
    usd,
)
from lipika.llm.assumed import ANSWER_TOKENS, PROMPT_TOKENS, assume_usage
from lipika.llm.capabilities import load_capabilities
from lipika.models import AnswerForm, ServiceTier

FLASH = load_capabilities(MODEL, today=PRICES_OF)
TOKENS = {form: count_tokens(form) for form in AnswerForm}
LEAN = TOKENS[AnswerForm.LEAN]


def test_the_page_says_what_is_computed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, "python -m benchmarks.cost writes it"
    assert capsys.readouterr().out.strip() in PAGE.read_text("utf-8")


def test_what_the_forecast_assumes_is_what_is_counted() -> None:
    for form in AnswerForm:
        counted = TOKENS[form]
        assert (PROMPT_TOKENS[form], ANSWER_TOKENS[form]) == (round(counted.text), round(counted.answer))
        assert assume_usage(form, "low", FLASH).prompt_audio == counted.audio


def test_the_arithmetic_by_hand() -> None:
    """440 of text at $0.50, 256 of audio at $1, 220 of output at $3 per million: $0.001136, half of it at Flex."""
    tokens = Tokens(text=440, audio=256, answer=120, schema=0)
    assert usd(tokens, 100, FLASH, ServiceTier.STANDARD) == pytest.approx(113_600)
    assert usd(tokens, 100, FLASH, ServiceTier.FLEX) == pytest.approx(56_800)


def test_the_target_is_met_at_8_thought_tokens() -> None:
    assert usd(LEAN, 8, FLASH, ServiceTier.FLEX) <= TARGET_USD == 40_000


def test_the_answer_takes_at_most_55_percent() -> None:
    assert LEAN.answer <= 0.55 * TOKENS[AnswerForm.FULL].answer
    assert LEAN.text <= TOKENS[AnswerForm.FULL].text
    assert LEAN.schema < TOKENS[AnswerForm.FULL].schema


def test_the_target_holds_up_to_the_break_even_and_no_further() -> None:
    most = break_even(LEAN, FLASH, ServiceTier.FLEX)
    assert most is not None
    assert usd(LEAN, most, FLASH, ServiceTier.FLEX) == pytest.approx(TARGET_USD)
    assert usd(LEAN, most + 1, FLASH, ServiceTier.FLEX) > TARGET_USD
    assert break_even(LEAN, FLASH, ServiceTier.STANDARD) is None


def test_every_lever_saves_and_both_save_most() -> None:
    costs = [usd(TOKENS[way.form], 100, FLASH, way.tier) for way in WAYS]
    assert all(after < before for before, after in pairwise(costs))
