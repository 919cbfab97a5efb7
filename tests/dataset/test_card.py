"""The card of an export: figures, hostile texts, the hub's front matter, charts, the page of samples."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from datasets import load_dataset_builder
from huggingface_hub import DatasetCard

from lipika.dataset.card import Sample, card_files
from lipika.dataset.card.front_matter import front_matter, size_category
from lipika.dataset.card.page import MOST_BYTES, SAMPLES_EACH, within_reason
from lipika.dataset.card.readme import readme
from lipika.dataset.card.words import markdown, plain, show_hours
from lipika.dataset.model import FileFact, Tarset
from lipika.dataset.summary import AuditedLanguage, CorpusAudit, ExportSummary
from lipika.languages import FIRST_CLASS
from summary_kit import a_plan_row, a_summary, an_utterance

HOSTILE = (
    "<script>alert(1)</script>",
    "a | b || c",
    "---\nlicense: mit\n---",
    "{{ 7 * 7 }} {% raw %}",
    "yes: [no, *x, &y]",
    "`code` **bold** [link](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "line\r\n# heading\u2028more\x00\x1b[31m",
    "\u202egnp.exe",
    '"]]>\' onload=alert(1) "',
    "$x$ @someone #1 https://evil.example www.evil.example",
)
FILES = [FileFact("data/hi/train-00000-of-00001.parquet", 10, "0" * 64)]


def a_sample(number: int = 0, language: str = "hi", **changes: Any) -> Sample:
    return Sample(a_plan_row(number, language, **changes), an_utterance(number, language).audio)


def a_card(summary: ExportSummary, *samples: Sample) -> dict[str, bytes]:
    return dict(card_files(summary, samples, FILES))


def read(content: bytes) -> str:
    return content.decode("utf-8")


def kind(line: str) -> str:
    """Of a line of Markdown: heading, row, item, picture, code, quotation or, "", words."""
    found = re.match(r"#+ |\||[-+*] |\d+[.)] |!\[|```|>|---|===|", line)
    return found[0] if found else ""


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# ----------------------------------------------------------------------------- all of it


def test_a_card_is_of_these_files_and_the_same_every_time() -> None:
    summary, samples = a_summary(), [a_sample(), a_sample(1, "ta")]
    files = a_card(summary, *samples)
    assert list(files) == [
        "README.md", "dataset.json", "croissant.json", "card/hours.svg", "card/lanes.svg", "card/scores.svg",
        "card/durations.svg", "samples.html", "card/audio/hi-0000.flac", "card/audio/ta-0001.flac",
    ]  # fmt: skip
    assert a_card(summary, *samples) == files
    assert files["card/audio/hi-0000.flac"] == samples[0].audio
    assert ExportSummary.decode(files["dataset.json"]).encode() == summary.encode()


def test_a_small_card_reads_like_this() -> None:
    card = read(a_card(a_summary())["README.md"])
    for line in (
        "# Kisse: stories told at home",
        "100 clips, 0.111 hours of speech in Hindi, Tamil, for Hugging Face datasets (Parquet).",
        "| Hindi (hi) | 0.044 (40) | 0.011 (10) | 0.056 (50) |",
        "| **all** | 0.089 (80) | 0.022 (20) | 0.111 (100) |",
        "| language | asr | tts_clean |",
        "| Tamil (ta) | 0.056 | 0.028 |",
        "| language | 0.8–0.9 | 0.9–1 |",
        "| Hindi (hi) | 16 | 34 |",
        "Half of the clips are shorter than 5 s.",
        "110 candidates = 100 exported + 10 dropped",
        "| score_below | 7 | 6.4 % |",
        "| model | gemini-3-flash-preview | 100 |",
        "| tier | unknown | 100 |",
        "punctuation in 99, digits in 2",
        "- The smallest group went to test.",
        "| Hindi (hi) | 3 | 8 s | 20 s | 40 s | 1 min | 1 min 32 s |",
        "cc-by-4.0, as stated",
    ):
        assert line in card
    assert "SIMULATED" not in card
    assert "hold\n  mistakes" in card
    assert 'load_dataset(folder, "hi", split="train", streaming=True)' in card


def test_a_card_tells_what_people_heard() -> None:
    rates = {"cer": 0.042, "cer_low": 0.034, "cer_high": 0.051}
    shares = {"unusable": 0.01, "unusable_low": 0.002, "unusable_high": 0.03}
    words = {"cer_verdict": "accepted: at most 5.0 %", "unusable_verdict": "undecided: hear 120 more"}
    languages = [
        AuditedLanguage(language=code, heard=300, **rates, **shares, **words)  # type: ignore[arg-type]
        for code in ("hi", "bn")
    ]
    audit = CorpusAudit(number=3, drawn_on="2026-11-30", lane="asr", agreement_cer=0.012, languages=languages)
    summary = a_summary(audit=audit)
    card = readme(summary, [], "flac")
    assert "| Hindi (hi) | 300 | 4.2 % (3.4 % to 5.1 %) |" in card
    assert "accepted: at most 5.0 %; undecided: hear 120 more" in card
    assert "Bengali" not in card  # of the audit, not of this export
    assert "Nobody has heard clips of Tamil." in card
    assert "differ in 1.2 % of the letters" in card
    assert ExportSummary.decode(summary.encode()) == summary
    assert "by ear" not in readme(a_summary(), [], "flac")


def test_every_picture_and_page_that_a_card_names_is_there() -> None:
    files = a_card(a_summary(FIRST_CLASS), a_sample())
    named = re.findall(r"\]\(([^)]+)\)", read(files["README.md"]))
    assert len(named) == 5
    assert set(named) <= set(files)


def test_text_that_was_made_up_is_said_to_be() -> None:
    files = a_card(a_summary(models={"simulated": 99, "gemini": 1}), a_sample())
    assert "a simulator made up the text of 99 of 100 clips" in read(files["README.md"])
    assert "SIMULATED" in read(files["samples.html"])
    assert "SIMULATED" in orjson.loads(files["croissant.json"])["description"]
    assert DatasetCard(read(files["README.md"])).data.tags == ["speech", "lipika", "simulated"]


def test_a_split_without_clips_in_one_language() -> None:
    tarsets = [Tarset("hi", "train", 1, 90, 360.0), Tarset("ta", "test", 1, 10, 40.0)]
    card = read(a_card(a_summary(tarsets=tarsets))["README.md"])
    assert "| Hindi (hi) | 0.100 (90) | – | 0.100 (90) |" in card
    assert "| Tamil (ta) | – | 0.011 (10) | 0.011 (10) |" in card


def test_one_split_claims_no_tests() -> None:
    card = read(a_card(a_summary(("ur",), tests=False))["README.md"])
    assert "nothing was set apart for tests" in card
    assert "never in two splits" not in card


def test_an_export_of_nothing_has_a_card() -> None:
    files = a_card(a_summary((), lanes={}, text_changes={}, durations=[]))
    assert list(files) == ["README.md", "dataset.json", "croissant.json"]
    assert "Nothing: no clip passed the selection." in read(files["README.md"])
    assert "](card/" not in read(files["README.md"])


def test_huge_counts() -> None:
    million = 1_000_000
    files = a_card(a_summary(FIRST_CLASS, clips=100 * million))
    card = read(files["README.md"])
    assert "1,200,000,120 clips, 1,333,333 hours of speech" in card
    assert "| Urdu (ur) | 111,111 (100,000,000) | 0.011 (10) | 111,111 (100,000,010) |" in card
    assert DatasetCard(card).data.size_categories == ["1B<n<10B"]
    widths = [float(width) for width in re.findall(r'width="([\d.]+)"', read(files["card/hours.svg"]))]
    assert max(widths) <= 720


@pytest.mark.parametrize("format_name", ["parquet", "webdataset", "nemo", "shar", "kaldi", "ljspeech", "new"])
def test_every_format_says_how_it_is_loaded(format_name: str) -> None:
    card = read(a_card(a_summary(format=format_name, reader="Somebody's reader"))["README.md"])
    section = card.split("## How to load it\n")[1].split("\n## ")[0]
    assert len(section.strip()) > 20
    assert re.search(r"\{[a-z_]+\}", section) is None


# ----------------------------------------------------------------------------- hostile texts


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_change_nothing_in_the_card(text: str) -> None:
    total = 100
    changes: dict[str, Any] = {
        "title": text, "reader": text, "source": text, "licence": text, "notes": [text, text],
        "options": {text: text}, "models": {text: total}, "prompts": {text: total}, "dropped": {text: 10},
    }  # fmt: skip
    usual = a_card(a_summary(options={"a": "b"}, notes=["x", "y"], dropped={"z": 10}))
    files = a_card(a_summary(**changes))
    card, plain_card = read(files["README.md"]), read(usual["README.md"])
    body, usual_body = (one.split("\n---\n", 1)[1] for one in (card, plain_card))
    assert [kind(line) for line in body.splitlines()] == [kind(line) for line in usual_body.splitlines()]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in body.splitlines()]
    assert cells == [line.count("|") for line in usual_body.splitlines()]
    assert "<script" not in body
    assert re.search(r"(?<!\\)\]\((javascript|http)", body) is None
    assert "\x1b" not in card
    data = DatasetCard(card).data
    assert data.pretty_name == (plain(text) or "Untitled")
    assert data.license == "other"
    assert sorted(data.to_dict()) == sorted(DatasetCard(plain_card).data.to_dict() | {"license_name": ""})
    assert orjson.loads(files["croissant.json"])["name"] == plain(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_transcripts_are_text_on_the_page(text: str) -> None:
    usual = Tags(read(a_card(a_summary(), a_sample(verbatim="other", tagged="more"))["samples.html"]))
    row: dict[str, Any] = {
        "text": text,
        "verbatim": f"v{text}",
        "tagged": f"t{text}",
        "speaker": text,
        "model": text,
    }
    page = Tags(read(a_card(a_summary(title=text), a_sample(**row))["samples.html"]))
    assert [tag for tag, _ in page.found] == [tag for tag, _ in usual.found]
    assert [sorted(attributes) for _, attributes in page.found] == [
        sorted(attributes) for _, attributes in usual.found
    ]
    assert page.text.count(plain(text)) >= 5


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text_in_charts(text: str) -> None:
    tarsets = [Tarset(text, "train", 1, 100, 400.0)]
    drawing = read(a_card(a_summary(tarsets=tarsets))["card/hours.svg"])
    root = ET.fromstring(drawing)  # noqa: S314 - our own
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {
        "svg",
        "title",
        "style",
        "rect",
        "text",
        "line",
    }
    assert any(plain(text) in (element.text or "") for element in root.iter())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# no heading", r"\# no heading"),
        ("- no item", r"\- no item"),
        ("1. no item", "1\\. no item"),
        ("tts_clean and _this_", r"tts_clean and \_this\_"),
        ("a|b", r"a\|b"),
        ("<b> & &amp;", "&lt;b&gt; &amp; &amp;amp;"),
        ("two\n\nlines", "two lines"),
        ("क्‍ष", "क्‍ष"),
    ],
)
def test_markdown_shows_what_it_was_given(text: str, shown: str) -> None:
    assert markdown(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0"), (1, "0.000"), (3600, "1.000"), (36_000, "10.0"), (3.6e7, "10,000")]
)
def test_hours_have_the_digits_that_matter(seconds: float, shown: str) -> None:
    assert show_hours(seconds) == shown


# ----------------------------------------------------------------------------- the hub


@pytest.mark.parametrize("languages", [("hi",), FIRST_CLASS])
def test_the_hub_reads_the_front_matter(languages: tuple[str, ...]) -> None:
    data = DatasetCard(read(a_card(a_summary(languages))["README.md"])).data
    assert data.language == sorted(languages)
    assert data.license == "cc-by-4.0"
    assert data.task_categories == ["automatic-speech-recognition", "text-to-speech"]
    assert data.size_categories == ["n<1K"]
    assert [one["config_name"] for one in data.to_dict()["configs"]] == sorted(languages)


@pytest.mark.parametrize("format_name", ["nemo", "kaldi", "new"])
def test_without_configs_the_viewer_does_not_guess(format_name: str) -> None:
    data = DatasetCard(read(a_card(a_summary(format=format_name))["README.md"])).data.to_dict()
    assert data["viewer"] is False
    assert "configs" not in data


@pytest.mark.parametrize(
    ("format_name", "path"),
    [("parquet", "data/{}/{}-00000-of-00001.parquet"), ("webdataset", "{0}/{1}/{0}-{1}-000000.tar")],
)
def test_datasets_finds_the_files_of_every_language_and_split(
    tmp_path: Path, format_name: str, path: str
) -> None:
    for language in ("hi", "ta"):
        for split in ("train", "test"):
            file = tmp_path / path.format(language, split)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
    card = dict(card_files(a_summary(format=format_name), [a_sample()], []))
    for name, content in card.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for language in ("hi", "ta"):
        builder = load_dataset_builder(str(tmp_path), language, cache_dir=str(tmp_path / "cache"))
        found = builder.config.data_files
        assert {str(split): [Path(one).name for one in files] for split, files in found.items()} == {
            split: [Path(path.format(language, split)).name] for split in ("train", "test")
        }


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ("", {}),
        ("MIT", {"license": "mit"}),
        ("CC-BY-NC-SA-4.0", {"license": "cc-by-nc-sa-4.0"}),
        ("Our own: ask!", {"license": "other", "license_name": "our-own-ask"}),
        ("हमारा", {"license": "other", "license_name": "as-stated-below"}),
    ],
)
def test_a_licence_is_one_of_the_hubs_or_another_with_a_name(given: str, facts: dict[str, str]) -> None:
    found = yaml.safe_load(front_matter(a_summary(licence=given)).strip("-\n"))
    assert {name: value for name, value in found.items() if name.startswith("license")} == facts


def test_without_a_licence_the_card_says_so() -> None:
    assert "None was stated." in read(a_card(a_summary(licence=""))["README.md"])


def test_lanes_decide_the_tasks_and_unknown_languages_are_no_languages() -> None:
    tarsets = [Tarset("other", "train", 1, 100, 1.0)]
    facts = yaml.safe_load(front_matter(a_summary(lanes={}, tarsets=tarsets)).strip("-\n"))
    assert "task_categories" not in facts
    assert "language" not in facts


@pytest.mark.parametrize(
    ("clips", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**8, "100M<n<1B"), (10**12, "100B<n<1T")],
)
def test_sizes_are_the_hubs(clips: int, name: str) -> None:
    assert size_category(clips) == name


# ----------------------------------------------------------------------------- samples


def test_samples_show_what_is_known_of_a_clip() -> None:
    files = a_card(a_summary(("ur",)), a_sample(0, "ur", verbatim="verbatim text", skip="score"))
    page = Tags(read(files["samples.html"]))
    text = next(attributes for tag, attributes in page.found if attributes.get("class") == "text")
    assert (text["lang"], text["dir"]) == ("ur", "rtl")
    (audio,) = [attributes for tag, attributes in page.found if tag == "audio"]
    assert audio["src"] in files
    for words in (
        "verbatim text",
        "0.875, gold",
        "asr",
        "short_pause",
        "2.0 s",
        "video_1-speaker0",
        "score",
    ):
        assert words in page.text
    assert [tag for tag, _ in page.found if tag == "script"] == []


def test_twelve_languages_have_twelve_sections() -> None:
    page = Tags(
        read(a_card(a_summary(FIRST_CLASS), *(a_sample(0, one) for one in FIRST_CLASS))["samples.html"])
    )
    assert [attributes["id"] for tag, attributes in page.found if tag == "section"] == sorted(FIRST_CLASS)


def test_no_language_shows_more_than_its_samples() -> None:
    audio = a_sample().audio
    samples = [Sample(a_plan_row(number), audio) for number in range(SAMPLES_EACH + 5)]
    assert within_reason(samples) == samples[:SAMPLES_EACH]


def test_samples_have_a_bound_that_languages_share() -> None:
    large = b"RIFF" + bytes(MOST_BYTES // 4)
    samples = [Sample(a_plan_row(number, one), large) for number in range(3) for one in ("hi", "ta")]
    kept = within_reason([*samples, Sample(a_plan_row(9, "ta"), b"fLaC small")])
    assert [(one.row.language, one.ending) for one in kept] == [("hi", "wav"), ("ta", "wav"), ("ta", "flac")]
    assert sum(len(one.audio) for one in kept) <= MOST_BYTES


def test_a_digest_of_the_whole_card_does_not_depend_on_the_order_of_counts() -> None:
    one = a_card(a_summary(models={"a": 50, "b": 50}), a_sample())
    other = a_card(a_summary(models={"b": 50, "a": 50}), a_sample())
    digests = [hashlib.sha256(b"".join(files.values())).hexdigest() for files in (one, other)]
    assert digests[0] == digests[1]
