"""The price list: its form, the day its prices hold, and one line that changes it."""

from __future__ import annotations

import tomllib
from datetime import date, timedelta
from importlib import resources
from pathlib import Path

import pytest

from lipika.errors import SettingsError
from lipika.llm.capabilities import PRICES, list_models, load_capabilities
from lipika.models import ServiceTier, Usage

MODELS = tomllib.loads(resources.files("lipika.llm").joinpath("models.toml").read_text("utf-8"))["models"]
FORM = (
    *(
        "read_on",
        *PRICES,
        "flex_factor",
        "batch_factor",
        "price_until",
        "then_factor",
        "retires_on",
        "successor",
    ),
    *(
        "temperature",
        "thinking_levels",
        "cache_minimum_tokens",
        "audio_tokens_per_second",
        "max_output_tokens",
    ),
)
OPTIONAL = {"flex_factor", "batch_factor", "price_until", "then_factor", "retires_on", "successor"}
READ = date(2026, 11, 29)


@pytest.mark.parametrize("model", MODELS)
def test_every_row_is_dated_and_has_the_form_of_all(model: str) -> None:
    row = MODELS[model]
    assert list(row) == [name for name in FORM if name in row]
    assert set(FORM) - set(row) <= OPTIONAL
    assert date(2026, 1, 1) < row["read_on"] <= READ
    assert 0 < row["cached_text_usd"] <= row["text_usd"] / 4
    assert row["text_usd"] <= row["audio_usd"] < row["output_usd"] <= 20
    assert row["cached_audio_usd"] <= row["audio_usd"] / 4
    assert ("price_until" in row) == ("then_factor" in row)
    assert row.get("price_until", READ) >= row["read_on"], "a price that is over is none"
    assert row.get("retires_on", date.max) > row["read_on"], "a model that is gone is not on sale"
    assert row.get("successor", "gemini-3.6-flash") in MODELS
    assert row.get("flex_factor", 0.5) == row.get("batch_factor", 0.5) == 0.5
    assert row["max_output_tokens"] >= 8192


def test_an_announced_price_holds_from_its_day_on() -> None:
    usage = Usage(656, 400, 256, output=220)
    until = MODELS["gemini-3.8-flash"]["price_until"]
    last, first = (
        load_capabilities("gemini-3.8-flash", today=until + timedelta(days=days)) for days in (0, 1)
    )
    assert first.cost_usd(usage) == pytest.approx(2 * last.cost_usd(usage))
    assert (last.price_until, first.price_until) == (until, None)
    assert first.on(date(2030, 1, 1)) == first
    steady = [load_capabilities("gemini-3.5-flash-lite", today=day) for day in (READ, date(2030, 1, 1))]
    assert steady[0] == steady[1]


def test_another_tier_is_a_share_of_every_price() -> None:
    model = load_capabilities("gemini-3-flash-preview")
    usage = Usage(656, 400, 256, cached=100, output=220)
    assert model.at(model.flex_factor).cost_usd(usage) == pytest.approx(model.cost_usd(usage) / 2)
    assert model.cost_usd(usage, ServiceTier.FLEX) == pytest.approx(model.cost_usd(usage) / 2)


def test_an_unknown_model_costs_the_most_and_is_spared_what_it_may_refuse() -> None:
    unknown = load_capabilities("gemini-99-ultra", today=READ)
    for name in PRICES:
        assert getattr(unknown, name) == max(row[name] for row in MODELS.values())
    assert (unknown.known, unknown.temperature) == (False, False)
    assert "low" in unknown.thinking_levels


# ----------------------------------------------------------------------------- one line


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.toml"


def test_one_line_changes_a_price_and_nothing_else(file: Path) -> None:
    file.write_text('models."gemini-3-flash-preview".output_usd = 4.5')
    ours, changed = (load_capabilities("gemini-3-flash-preview", override) for override in (None, file))
    assert changed.output_usd == 4.5
    assert (changed.text_usd, changed.thinking_levels) == (ours.text_usd, ours.thinking_levels)
    assert list(list_models(file)) == list(MODELS)


def test_a_price_that_a_person_gives_is_not_changed_by_an_announcement(file: Path) -> None:
    file.write_text('models."gemini-3.8-flash".output_usd = 7.5')
    later = load_capabilities("gemini-3.8-flash", file, today=date(2027, 6, 1))
    assert later.output_usd == 7.5
    file.write_text('models."gemini-3.8-flash".max_output_tokens = 4096')
    later = load_capabilities("gemini-3.8-flash", file, today=date(2027, 6, 1))
    assert (later.output_usd, later.max_output_tokens) == (7.5, 4096)


def test_one_line_adds_a_model_like_another(file: Path) -> None:
    file.write_text('models."gemini-9-flash" = {like = "gemini-3.6-flash", text_usd = 0.9, audio_usd = 0.8}')
    new = load_capabilities("google/gemini-9-flash", file)
    assert (new.known, new.text_usd, new.audio_usd, new.output_usd) == (True, 0.9, 0.8, 3.75)
    assert new.price_until is None
    assert list(list_models(file)) == [*MODELS, "gemini-9-flash"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('models."own/model".output_usd = 1.0', ['models."own/model".text_usd', "required"]),
        (
            'models."own/model" = {like = "gemini-0"}',
            ['models."own/model".like', "'gemini-0'", "lipika models"],
        ),
        ('models."own/model" = {like = 3}', ['models."own/model".like', "3"]),
        ('models."gemini-3.8-flash".ouput_usd = 1.0', ["ouput_usd", "not permitted"]),
        ('models."gemini-3.8-flash".flex_factor = 0.0', ["flex_factor", "greater than 0"]),
        ('models."gemini-3.8-flash".price_until = "soon"', ["price_until", "date"]),
        ('models."gemini-3.8-flash" = 3', ['models."gemini-3.8-flash"']),
    ],
)
def test_a_mistake_in_it_names_model_and_field(file: Path, line: str, told: list[str]) -> None:
    file.write_text(line)
    with pytest.raises(SettingsError) as caught:
        load_capabilities("own/model", file)
    for part in (f"MODELS_FILE {file}: ", *told):
        assert part in str(caught.value)
