"""`lipika models`: the price list with one's own rows."""

from __future__ import annotations

import json
from pathlib import Path

from command_kit import lipika
from lipika.llm.capabilities import list_models


def test_the_command_shows_them_all_with_ones_own(tmp_path: Path) -> None:
    ours, file = list_models(), tmp_path / "models.toml"
    file.write_text('models."own/model" = {like = "gemini-3.6-flash", text_usd = 0.125}')
    env = {"MODELS_FILE": str(file), "COLUMNS": "200"}
    listed = json.loads(lipika("models", "--json", env=env).stdout)
    assert [row["model_id"] for row in listed] == [*ours, "own/model"]
    assert listed[0]["read_on"] == str(ours[listed[0]["model_id"]].read_on)
    assert listed[-1]["text_usd"] == 0.125
    shown = lipika("models", env=env).stdout
    assert not [name for name in (*ours, "own/model") if name not in shown]
    assert "2027-05-07" in shown
    file.write_text("models = 3")
    failed = lipika("models", env=env)
    assert failed.returncode == 2
    assert f"MODELS_FILE {file}: models: " in failed.stderr
