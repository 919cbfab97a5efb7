"""Vocabularies of models: files as they come, and what of a text does not fit."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.dataset.vocabulary import Fitted, Misfits, Vocabulary
from lipika.errors import UsageError


def read(tmp_path: Path, text: str, name: str = "vocab.txt") -> Vocabulary:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return Vocabulary.read(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocab.txt", "[UNK]\n##र\nघ\n##ा\n"),  # WordPiece
        ("vocab.txt", "<unk>\n▁घ\nर\nा\n"),  # SentencePiece
        ("tokens.txt", "<blk> 0\n▁घ 1\nर 2\nा 3\n"),
        ("unigram.vocab", "<unk>\t0\n▁घ\t-2.5\nर\t-3.1\nा\t-4\n"),
        ("vocab.json", json.dumps(["<unk>", "▁घर", "ा"])),
        ("vocab.json", json.dumps({"<unk>": 0, "घर": 1, "ा": 2})),
        ("vocab.json", json.dumps({"hi": ["<unk>", "▁घर", "ा"], "ta": ["அ"]})),
        ("vocab.json", json.dumps({"Hindi": {"घर": 0, "ा": 1}})),
    ],
)
def test_every_kind_of_file_gives_the_same_characters(tmp_path: Path, name: str, text: str) -> None:
    vocabulary = read(tmp_path, text, name)
    assert vocabulary.fit("घर रा", "hi") == Fitted("घर रा")
    assert vocabulary.fit("घर 5 Uk 5", "hi") == Fitted("घर 5 Uk 5", "5Uk")


def test_each_language_has_its_own_where_the_file_says_so(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, json.dumps({"hi": ["घर"], "ta": ["அ"]}), "vocab.json")
    assert vocabulary.fit("அ", "ta").unfit == ""
    assert vocabulary.fit("அ", "hi").unfit == "அ"
    with pytest.raises(UsageError, match=r"no tokens for 'bn' in it, only for hi ta"):
        vocabulary.fit("ক", "bn")


def test_what_is_not_heard_goes_where_the_vocabulary_lacks_it(tmp_path: Path) -> None:
    assert read(tmp_path, "ल\nৰ\nा\nল\nা").fit("ল'ৰা\u200d", "as") == Fitted("লৰা")
    assert read(tmp_path, "ল\n'\nৰ\nা").fit("ল'ৰা", "as") == Fitted("ল'ৰা")


def test_a_letter_fits_whether_the_vocabulary_has_it_whole_or_in_parts(tmp_path: Path) -> None:
    whole, parts = "\u0931", "\u0930\u093c"
    assert read(tmp_path, f"{parts}\n").fit(whole, "mr").unfit == ""
    assert read(tmp_path, "\u0930\n\u093c\n").fit(parts, "mr") == Fitted(whole)
    assert read(tmp_path, "\u0930\n").fit(whole, "mr").unfit == whole


@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Cf"], exclude_characters="'▁#<>["),
        min_size=1,
    )
)
def test_a_text_fits_its_own_characters(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert Vocabulary({"": frozenset(composed)}).fit(text, "hi") == Fitted(composed)
    rest = Vocabulary({"": frozenset(set(composed) - {composed[0]})}).fit(text, "hi")
    assert rest.unfit in ("", composed[0])


def test_misfits_are_named_with_code_point_count_and_example(tmp_path: Path) -> None:
    vocabulary, misfits = read(tmp_path, "घ\nर\n"), Misfits()
    for text in ("घर 5", "55 घर", "घर é"):
        misfits.add(vocabulary.fit(text, "hi"))
    assert misfits.lines() == [
        '"5" (U+0035 DIGIT FIVE) in 2 texts, such as: घर 5',
        '"é" (U+00E9 LATIN SMALL LETTER E WITH ACUTE) in 1 text, such as: घर é',
    ]
    assert len(misfits.lines(most=1)) == 1


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("vocab.txt", b"", "no tokens"),
        ("vocab.txt", b"<unk>\n<s>\n", "no tokens"),
        ("vocab.txt", b"\xff\xfe\x00", "cannot be read"),
        ("vocab.json", b"[1, 2]", "list of tokens"),
        ("vocab.json", b'{"hi": []}', "list of tokens"),
        ("vocab.json", b"{", "no JSON"),
    ],
)
def test_a_file_that_will_not_do_is_named_with_the_way_out(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=problem) as caught:
        Vocabulary.read(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Vocabulary.read(tmp_path / "none.txt")
