"""The benchmark by lane: what it reads, what it counts, and that its targets are met."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from benchmarks.validation.__main__ import EACH_OWN, LANES_REAL, RESULTS
from benchmarks.validation.damage import DAMAGES, UNKNOWABLE, Said, phrases
from benchmarks.validation.forms import FORMS, REPETITION
from benchmarks.validation.lanes import LaneResult, area_under_curve, measure_lanes, own_text
from benchmarks.validation.sources import read_sources
from lipika.languages import FIRST_CLASS
from lipika.validation import VALIDATOR_VERSION

HINDI = ["कल सुबह हम सब स्टेशन पर मिलेंगे।", "उसकी बहन बहुत अच्छा गाना गाती है।", "आज बाज़ार में बहुत भीड़ थी।"]


def folder_of_text(root: Path) -> Path:
    (root / "hi").mkdir(parents=True)
    (root / "hi" / "0001_story.md").write_text(
        f"# शीर्षक\n\n##\n{HINDI[0]} {HINDI[1]}\n* License: CC\n", "utf-8"
    )
    (root / "hi_x-ud-test.conllu").write_text(
        f"# text = {HINDI[2]}\n1\tआज\t_\n\n# text = {HINDI[0]}\n", "utf-8"
    )
    (root / "xx_y-ud-test.conllu").write_text("# text = not a language of ours at all\n", "utf-8")
    return root


def test_sentences_are_read_from_folders_and_from_bare_git_folders(tmp_path: Path) -> None:
    folder = folder_of_text(tmp_path / "text")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "text"]):
        subprocess.run([*git, *words], check=True)
    bare = tmp_path / "copy" / "repo"
    subprocess.run(["git", "clone", "-q", "--bare", str(folder), str(bare)], check=True)
    plain, copied = read_sources([folder]), read_sources([bare])
    assert (plain.known, plain.apart) == (copied.known, copied.apart)
    assert sorted(plain.known["hi"] + plain.apart["hi"]) == sorted(HINDI), (
        "each once, headings and licences not"
    )
    (source,) = copied.sources
    assert (source.name, len(source.commit), source.sentences) == ("copy", 40, 3)
    assert plain.sources[0].commit == ""


def test_what_stays_open_meets_the_targets() -> None:
    """The benchmark's own sentences, as on file."""
    held = json.loads(RESULTS.read_text("utf-8"))
    assert held["validator"] == VALIDATOR_VERSION
    assert LaneResult(**held["lanes"]).missed_targets(real=False) == []
    few = measure_lanes(own_text(), 4)
    assert few.mean_open <= 0.05
    assert few.lost <= 0.003
    assert held["lanes"]["cases"] > 10 * EACH_OWN * (len(DAMAGES) + len(FORMS))


def test_figures_on_real_text_are_of_this_version_and_meet_the_targets() -> None:
    held = json.loads(LANES_REAL.read_text("utf-8"))
    assert held["validator"] == VALIDATOR_VERSION, (
        "run python -m benchmarks.validation --from DIR --apart --write"
    )
    lanes = held["lanes"]
    assert set(lanes["damaged"]) == set(DAMAGES)
    known = [share["asr"] for kind, share in lanes["damaged"].items() if kind not in UNKNOWABLE]
    assert sum(known) / len(known) <= 0.05
    assert max(known) <= 0.20
    assert lanes["lost"] <= 0.003
    assert max(lanes["lost_by_language"].values()) <= 0.01
    assert all(lanes["correct"][kind]["lost"] <= 0.02 for kind in REPETITION)
    assert lanes["area"] >= 0.95
    assert len(UNKNOWABLE) <= 15


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_every_damage_changes_the_text(language: str) -> None:
    text = own_text()[language]
    said = Said(text[0], language, tuple(text[1:4]), tuple(text[4:8]), random.Random(1))
    made = {kind: damage(said) for kind, damage in DAMAGES.items()}
    unchanged = [kind for kind, spoilt in made.items() if spoilt in (None, text[0])]
    assert len(unchanged) <= 5, unchanged
    assert set(phrases()) == {*FIRST_CLASS, "en"}


def test_the_area_under_the_curve() -> None:
    assert area_under_curve([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert area_under_curve([0.1], [0.9]) == 0.0
    assert area_under_curve([0.5, 0.5], [0.5]) == 0.5
    assert area_under_curve([0.9, 0.3], [0.5, 0.1]) == 0.75
