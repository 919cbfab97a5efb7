"""Hugging Face datasets, as `datasets` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corpus_kit import bytes_at, sound, taken
from lipika.packing.sources.cards import parse_card
from lipika.packing.sources.huggingface import HuggingFaceSource

pyarrow = pytest.importorskip("pyarrow")
datasets = pytest.importorskip("datasets")


def made(first: int, count: int = 3) -> Any:
    """A Dataset of encoded recordings, as `push_to_hub` would store them."""
    features = datasets.Features(
        {
            "id": datasets.Value("int32"),
            "audio": datasets.Audio(decode=False),
            "sentence": datasets.Value("string"),
            "gender": datasets.ClassLabel(names=["male", "female"]),
            "client_id": datasets.Value("string"),
            "votes": {"up": datasets.Value("int32")},
        }
    )
    rows = [
        {
            "id": 5,  # of a sentence: many sets have it several times
            "audio": {"bytes": sound(at), "path": f"clip_{at}.wav"},
            "sentence": f"वाक्य {at}",
            "gender": at % 2,
            "client_id": f"s{at}",
            "votes": {"up": at},
        }
        for at in range(first, first + count)
    ]
    rows.append({**rows[0], "audio": None})
    return datasets.Dataset(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema))


def test_a_dataset_folder_says_language_and_split_by_card_and_path(tmp_path: Path) -> None:
    for at, (folder, split) in enumerate([("hi", "train"), ("hi", "test"), ("x", "validation")]):
        path = tmp_path / f"data/{folder}/{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        made(10 * at).to_parquet(path)
    (tmp_path / "README.md").write_text(
        "---\nlanguage:\n- hi\n- ta\nconfigs:\n- config_name: hi\n  data_files:\n  - split: train\n"
        "    path: data/hi/train-*\n  - split: test\n    path: data/hi/test-*\n- config_name: ta\n"
        '  data_files:\n  - split: dev\n    path: "data/x/*"\n---\n# A set\n'
    )
    items, refused = taken(HuggingFaceSource(str(tmp_path)))
    assert len(items) == 9
    assert [reason for _, reason in refused] == ["no_audio"] * 3
    first = items["clip_0.wav"]
    assert bytes_at(first.audio) == sound(0)
    assert (first.text, first.speaker, first.language) == ("वाक्य 0", "s0", "hi")
    assert first.columns == {"gender": "male", "votes": {"up": 0}, "id": 5}
    assert {(items[f"clip_{at}.wav"].language, items[f"clip_{at}.wav"].split) for at in (0, 10, 20)} == {
        ("hi", "train"),
        ("hi", "test"),
        ("ta", "dev"),
    }


def test_what_save_to_disk_writes_and_plain_parquet(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": made(0), "test": made(3)}).save_to_disk(tmp_path / "saved")
    items, _ = taken(HuggingFaceSource(str(tmp_path / "saved")))
    assert [(item.name, item.split) for item in items.values()] == [
        *((f"clip_{at}.wav", "test") for at in (3, 4, 5)),
        *((f"clip_{at}.wav", "train") for at in (0, 1, 2)),
    ]
    assert all(bytes_at(item.audio) == sound(int(name[5])) for name, item in items.items())
    (tmp_path / "a.wav").write_bytes(sound(1))
    plain = {"path": ["a.wav", "gone.wav"], "text": ["एक", "दो"], "lang": ["hi", "hi"], "id": ["x", "y"]}
    datasets.Dataset.from_dict(plain).to_parquet(tmp_path / "list.parquet")
    items, _ = taken(HuggingFaceSource(str(tmp_path / "list.parquet")))
    assert [(item.name, Path(item.audio.place).name) for item in items.values()] == [
        ("x", "a.wav"),
        ("y", "gone.wav"),
    ]
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "text.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    for name, reason in (("text", "no_audio_column"), ("bad", "unreadable_file")):
        assert [one[1] for one in taken(HuggingFaceSource(str(tmp_path / f"{name}.parquet")))[1]] == [reason]


LISTS = """---
configs:
  - config_name: a
    default: true
    data_files:
      - split: train
        path:
          - x/1.parquet
          - "x/2.parquet"
  - config_name: b
    data_dir: ./b
language: [hi, ta]
---"""


@pytest.mark.parametrize(
    ("text", "files", "language"),
    [
        ("# no front matter", [], None),
        ("---\nlanguage: hi\n---\n", [], "hi"),
        (
            "---\nconfigs:\n- config_name: a\n  data_files: a/*.parquet\n---",
            [("a", None, "a/*.parquet")],
            None,
        ),
        (LISTS, [("a", "train", "x/1.parquet"), ("a", "train", "x/2.parquet"), ("b", None, "b/*")], None),
    ],
)
def test_cards(text: str, files: list[tuple[str, str | None, str]], language: str | None) -> None:
    card = parse_card(text)
    assert list(card.files) == files
    assert card.language == language
