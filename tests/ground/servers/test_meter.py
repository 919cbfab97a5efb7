"""What an attempt costs: dollars by kind of token, tokens that nobody metered, prices from a file, the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asking import a_request
from lipika.errors import SettingsError
from lipika.languages import FIRST_CLASS
from lipika.llm import prompt
from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import Capabilities, cache_note, load_capabilities
from lipika.llm.openrouter import OpenRouterProvider
from lipika.llm.provider import (
    HttpProvider,
    ModelOptions,
    ReadReply,
    TranscriptionRequest,
    billed_usage,
    estimate_usage,
    text_tokens,
)
from lipika.llm.transcript import response_schema
from lipika.models import Failure, FailureKind, Usage
from lipika.simulator import Caching, FaultKind, FaultPlan, FaultRule, Latency, SimulatorConfig, running

MODELS = ("gemini-3-flash-preview", "gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.8-flash")
FLASH = load_capabilities(MODELS[0])
OPTIONS = ModelOptions(FLASH.model_id, 0.0, "low", 10.0)

# ----------------------------------------------------------------------------- dollars

PRICES = Capabilities(
    model_id="test",
    text_usd=1.0,
    audio_usd=10.0,
    output_usd=100.0,
    cached_text_usd=0.1,
    cached_audio_usd=2.0,
    temperature=True,
    thinking_levels=(),
    cache_minimum_tokens=1000,
    audio_tokens_per_second=32,
    max_output_tokens=1000,
)
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(), 0.0),
        (Usage(prompt=MILLION, prompt_text=MILLION), 1.0),
        (Usage(prompt=MILLION, prompt_audio=MILLION), 10.0),
        (Usage(output=MILLION), 100.0),
        (Usage(output=MILLION, thoughts=MILLION), 100.0),  # thoughts are a part of the output
        (Usage(prompt=MILLION, prompt_text=MILLION, cached=MILLION), 0.1),
        (Usage(prompt=MILLION, prompt_audio=MILLION, cached=MILLION), 2.0),
        # The common prefix is text: cached tokens are text as far as there is any, then audio.
        (Usage(prompt=3 * MILLION, prompt_text=2 * MILLION, prompt_audio=MILLION, cached=MILLION), 11.1),
        (Usage(prompt=3 * MILLION, prompt_text=MILLION, prompt_audio=2 * MILLION, cached=2 * MILLION), 12.1),
        (Usage(prompt=2 * MILLION, prompt_text=MILLION, prompt_audio=MILLION, cached=2 * MILLION), 2.1),
        # Without a split by modality all of the prompt is text.
        (Usage(prompt=2 * MILLION), 2.0),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, usd: float) -> None:
    assert PRICES.cost_usd(usage) == pytest.approx(usd)


COUNTS = st.integers(0, 10_000)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_no_usage_is_cheaper_than_nothing_or_dearer_than_uncached(
    prompt_tokens: int, audio: int, cached: int, output: int
) -> None:
    usage = Usage(prompt_tokens, max(prompt_tokens - audio, 0), audio, cached, output)
    for model in MODELS:
        capabilities = load_capabilities(model)
        usd = capabilities.cost_usd(usage)
        assert 0 <= usd <= capabilities.cost_usd(replace(usage, cached=0)) + 1e-12


@pytest.mark.parametrize("model", MODELS)
def test_the_price_list_is_whole(model: str) -> None:
    row = load_capabilities(model)
    assert row.known
    assert 0 < row.cached_text_usd <= row.text_usd <= row.audio_usd < row.output_usd
    assert row.cached_text_usd == pytest.approx(row.text_usd / 10), "the discount is 90 %"
    assert row.cached_audio_usd == pytest.approx(row.audio_usd / 10)
    assert row.audio_tokens_per_second == 32
    assert "low" in row.thinking_levels


def test_the_worked_example_of_the_documentation() -> None:
    """8 s of audio, a prompt of 400 tokens, 120 of answer and 100 of thought on 3 Flash: $0.0011."""
    assert FLASH.cost_usd(Usage(656, 400, 256, output=220, thoughts=100)) == pytest.approx(0.001116)


# ----------------------------------------------------------------------------- tokens nobody metered


def request(**changes: object) -> TranscriptionRequest:
    plain = TranscriptionRequest("v/1", "v", "hi", "p" * 400, "c" * 5, b"", 8000, 3000)
    return replace(plain, **changes)  # type: ignore[arg-type]


GUESS = Usage(prompt=100 + 2 + 256, prompt_text=102, prompt_audio=256)
LOST = 200 + 20 * 8
METERED = Usage(500, 244, 256, cached=100, output=50, thoughts=9)


def failed(kind: FailureKind, status: int | None, code: str = "") -> Failure:
    return Failure(kind, "m", None, status, code)


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (ReadReply("x" * 90, None, METERED), METERED),
        (ReadReply("", failed(FailureKind.TRUNCATED, 200), METERED), METERED),
        (ReadReply("", failed(FailureKind.SERVER, 502), METERED), METERED),
        (ReadReply("x" * 90), replace(GUESS, output=90)),
        (ReadReply("", failed(FailureKind.TRUNCATED, 200)), replace(GUESS, output=3000)),
        (ReadReply("", failed(FailureKind.BLOCKED, 200)), replace(GUESS, output=LOST)),
        (ReadReply("", failed(FailureKind.SERVER, 200, "not_json")), replace(GUESS, output=LOST)),
        (ReadReply("", failed(FailureKind.TIMEOUT, None, "deadline")), replace(GUESS, output=LOST)),
        (ReadReply("", failed(FailureKind.SERVER, None, "connection")), replace(GUESS, output=LOST)),
        (ReadReply("", failed(FailureKind.SERVER, None, "unreachable")), Usage()),
        (ReadReply("", failed(FailureKind.RATE_MINUTE, 429)), Usage()),
        (ReadReply("", failed(FailureKind.SERVER, 500)), Usage()),
        (
            ReadReply("", failed(FailureKind.OVERLOADED, 502)),
            Usage(),
        ),  # an error inside HTTP 200 has its own status
    ],
)
def test_whatever_may_have_been_billed_is_counted(reading: ReadReply, expected: Usage) -> None:
    assert billed_usage(request(), reading, 32) == expected


@pytest.mark.parametrize(
    ("metered", "expected"),
    [
        (Usage(500, 500, 0, output=50), Usage(500, 244, 256, output=50)),
        (Usage(100, 100, 0, output=50), Usage(100, 0, 100, output=50)),
        (Usage(500, 490, 10, output=50), Usage(500, 490, 10, output=50)),
        (Usage(output=50), Usage(358, 102, 256, output=50)),
    ],
)
def test_audio_that_is_not_listed_is_told_by_its_length(metered: Usage, expected: Usage) -> None:
    """At 3 Flash it costs twice the text: a meter that takes it for text would let a cap be overrun."""
    assert billed_usage(request(), ReadReply("x", None, metered), 32) == expected


def test_a_lost_answer_is_guessed_by_the_clips_length() -> None:
    lost = ReadReply("", failed(FailureKind.TIMEOUT, None, "deadline"))
    outputs = [billed_usage(request(audio_ms=ms), lost, 32).output for ms in (2000, 8000, 15_000)]
    assert outputs == [240, 360, 500]


# ----------------------------------------------------------------------------- against the simulator's books


def aistudio(url: str) -> HttpProvider:
    return AIStudioProvider(
        base_url=url, api_key="k", options=OPTIONS, capabilities=FLASH, response_schema=response_schema()
    )


def openrouter(url: str) -> HttpProvider:
    return OpenRouterProvider(
        base_url=f"{url}/api/v1",
        api_key="k",
        options=OPTIONS,
        capabilities=FLASH,
        response_schema=response_schema(),
        prompt_version="1",
        routed=True,
    )


def config(*kinds: FaultKind, cache: int | None = None) -> SimulatorConfig:
    plan = FaultPlan(tuple(FaultRule(kind) for kind in kinds))
    return SimulatorConfig(latency=Latency(median_s=0.0), faults=plan, caching=Caching(min_tokens=cache))


def clips() -> list[TranscriptionRequest]:
    """One for each language, 2 to 8 s long."""
    plain = [a_request(number, seconds=2.0 + number % 4 * 2) for number, _ in enumerate(FIRST_CLASS)]
    return [
        replace(clip, language=code, system_prompt=prompt.system_prompt(code))
        for clip, code in zip(plain, FIRST_CLASS, strict=True)
    ]


@pytest.mark.parametrize("make", [aistudio, openrouter])
@pytest.mark.parametrize("kind", [None, FaultKind.PARTIAL_USAGE, FaultKind.MAX_TOKENS, FaultKind.RECITATION])
async def test_our_dollars_are_the_providers(
    make: Callable[[str], HttpProvider], kind: FaultKind | None
) -> None:
    """Answered well or badly, with thoughts listed or not, the meter and the bill agree to the token."""
    async with running(config(*([kind] if kind else []), cache=200)) as sim, make(sim.url) as client:
        responses = [response async for response in client.send_batch([*clips(), *clips()])]
        usage = sum((response.usage for response in responses), Usage())
        ledger = sim.simulation.ledger
        assert sum(FLASH.cost_usd(response.usage) for response in responses) == pytest.approx(ledger.cost_usd)
        assert (usage.prompt, usage.cached) == (ledger.prompt_tokens, ledger.cached_tokens)
        assert usage.output == ledger.output_tokens
    assert usage.cached > 0
    assert usage.thoughts == (0 if kind is FaultKind.PARTIAL_USAGE else ledger.thought_tokens)


@pytest.mark.parametrize("make", [aistudio, openrouter])
async def test_an_estimate_is_on_the_high_side(make: Callable[[str], HttpProvider]) -> None:
    """In every language and at every length, so that an answer without a meter never overruns a cap."""
    async with running(config()) as sim, make(sim.url) as client:
        for clip in clips():
            response = await client.transcribe(clip)
            guess = estimate_usage(clip, response.text, FLASH.audio_tokens_per_second)
            lost = billed_usage(clip, ReadReply("", failed(FailureKind.TIMEOUT, None, "deadline")), 32)
            assert response.usage.prompt <= guess.prompt <= response.usage.prompt * 1.1
            assert response.usage.output <= guess.output, clip.language
            assert FLASH.cost_usd(response.usage) <= FLASH.cost_usd(guess)
            assert FLASH.cost_usd(response.usage) <= FLASH.cost_usd(lost) * 1.5


async def test_usage_that_is_left_out_is_estimated_on_the_wire() -> None:
    for make in (aistudio, openrouter):
        async with running(config(FaultKind.NO_USAGE)) as sim, make(sim.url) as client:
            (clip, *_) = clips()
            response = await client.transcribe(clip)
            assert response.usage == estimate_usage(clip, response.text, 32)
            assert FLASH.cost_usd(response.usage) >= sim.simulation.ledger.cost_usd


async def test_the_cache_hit_rate_is_cached_over_prompt_tokens() -> None:
    long = prompt.system_prompt("hi") + " word" * 1200
    asked = [replace(a_request(number), system_prompt=long) for number in range(10)]
    async with running(config(cache=1024)) as sim, aistudio(sim.url) as client:
        responses = [await client.transcribe(clip) for clip in asked]
        usage = sum((client.get_token_usage(response) for response in responses), Usage())
        hits = [client.verify_cache_hit(response) for response in responses]
    assert hits == [False] + [True] * 9
    common = text_tokens(long)
    assert usage.cached / usage.prompt == pytest.approx(9 * common / usage.prompt)
    assert 0.8 < usage.cached / usage.prompt < 0.9


# ----------------------------------------------------------------------------- prices from a file

ROW = """
[models."own/model"]
text_usd = 0
audio_usd = 0.25
output_usd = 1.5
cached_text_usd = 0
cached_audio_usd = 0.0
temperature = true
thinking_levels = []
cache_minimum_tokens = 0
audio_tokens_per_second = 25
max_output_tokens = 4096
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(ROW)
    return path


def test_a_file_adds_models_and_takes_the_place_of_ours(file: Path) -> None:
    own = load_capabilities("own/model", file)
    assert (own.known, own.text_usd, own.output_usd, own.thinking_levels) == (True, 0.0, 1.5, ())
    assert load_capabilities("gemini-3-flash-preview", file) == FLASH
    file.write_text(ROW.replace("own/model", "gemini-3-flash-preview"))
    assert load_capabilities("gemini-3-flash-preview", file).output_usd == 1.5
    assert load_capabilities("google/gemini-3-flash-preview", file).output_usd == 1.5
    file.write_text(ROW.replace("1.5", "999.0"))
    assert load_capabilities("someone/else", file).output_usd == 999.0, "the dearest of all, ours and theirs"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("output_usd = 1.5\n", ""), ['models."own/model".output_usd', "required"]),
        (("output_usd = 1.5", 'output_usd = "1.5"'), ['models."own/model".output_usd', "number"]),
        (
            ("output_usd = 1.5", "output_usd = -1.5"),
            ['models."own/model".output_usd', "greater than or equal"],
        ),
        (("output_usd = 1.5", "output_usd = nan"), ['models."own/model".output_usd', "finite"]),
        (("output_usd = 1.5", "output_usd = inf"), ['models."own/model".output_usd', "finite"]),
        (("output_usd", "ouput_usd"), ['models."own/model"', "ouput_usd", "output_usd"]),
        (("temperature = true", "temperature = 1"), ['models."own/model".temperature', "boolean"]),
        (("thinking_levels = []", 'thinking_levels = ["Low"]'), ["thinking_levels.0", "'low'"]),
        (("thinking_levels = []", 'thinking_levels = "low"'), ["thinking_levels", "list"]),
        (("= 25", "= 0"), ["audio_tokens_per_second", "greater than or equal"]),
        (("[models.", "[model."), ["models", "required"]),
        (('[models."own/model"]', "[models]"), ["models", "text_usd"]),
        ((ROW, ""), ["models", "required"]),
        ((ROW, "[models]"), ["models", "at least 1"]),
        ((ROW, "models = 3"), ["models"]),
        ((ROW, "[models"), ["not TOML"]),
        (
            ("temperature = true", "temperature = true\nknown = false"),
            ['models."own/model".known', "not permitted"],
        ),
    ],
)
def test_a_mistake_names_file_model_and_field(file: Path, change: tuple[str, str], told: list[str]) -> None:
    assert change[0] in ROW
    file.write_text(ROW.replace(*change))
    with pytest.raises(SettingsError) as caught:
        load_capabilities("own/model", file)
    for part in (f"MODELS_FILE {file}: ", *told):
        assert part in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MODELS_FILE .*none\.toml: cannot be read: No such file"):
        load_capabilities("x", tmp_path / "none.toml")
    with pytest.raises(SettingsError, match=r"cannot be read: Is a directory"):
        load_capabilities("x", tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9")
    with pytest.raises(SettingsError, match=r"latin\.toml: is not a text file in UTF-8"):
        load_capabilities("x", latin)


# ----------------------------------------------------------------------------- the cache


def test_a_prompt_too_short_for_the_cache_is_said() -> None:
    note = cache_note(FLASH, 405)
    assert note
    for part in ("405", "1024", "gemini-3-flash-preview"):
        assert part in note
    assert cache_note(FLASH, 1023)
    assert cache_note(FLASH, 1024) is None
    assert cache_note(load_capabilities("gemini-3.6-flash"), 1024)
    assert cache_note(replace(FLASH, cache_minimum_tokens=0), 1) is None, "no minimum is known"


def test_our_own_prompt_is_too_short() -> None:
    """Which is why the cache is reported, not counted on."""
    for code in FIRST_CLASS:
        assert cache_note(FLASH, text_tokens(prompt.system_prompt(code)))
