"""Several answers in one reply: each is its clip's or nobody's, whatever the reply looks like."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika.languages import DETECTABLE
from lipika.llm import lean, prompt, transcript
from lipika.llm.several import (
    MOST_CLIPS,
    SEVERAL_SCHEMA_VERSIONS,
    AskedClip,
    ClipFault,
    NamedAnswer,
    SeveralAnswers,
    are_told_apart,
    expand_several,
    make_ids,
    read_several,
    several_prompt,
    several_schema,
    several_version,
    shrink_several,
    words_before,
    write_several,
)
from lipika.llm.transcript import EMOTIONS, PACES, STYLES, read_answer
from lipika.models import Answer, AnswerForm, Failure, FailureKind
from transcript_kit import GOOD

ANSWER = Answer(**GOOD)  # type: ignore[arg-type]
IDS = make_ids("a mark", 4)
LENGTHS = (3.0, 5.2, 8.0, 12.4)
ASKED = [AskedClip(one, seconds) for one, seconds in zip(IDS, LENGTHS, strict=True)]


def saying(number: int) -> Answer:
    return replace(ANSWER, transcription=f"शब्द {number}", tagged=f"शब्द {number}")


GIVEN = [NamedAnswer(one.clip, one.seconds, saying(number)) for number, one in enumerate(ASKED)]


def read(answers: Sequence[NamedAnswer], asked: Sequence[AskedClip] = ASKED) -> SeveralAnswers:
    """The same in both forms."""
    found = [
        read_several(json.dumps(write(answers), ensure_ascii=False), asked)
        for write in (write_several, shrink_several)
    ]
    assert found[0] == found[1]
    assert isinstance(found[0], SeveralAnswers), found[0]
    return found[0]


def codes(found: SeveralAnswers) -> list[str]:
    """What became of each clip: the code of its failure, or the text that it has."""
    return [
        one.answer.code if isinstance(one.answer, Failure) else one.answer.transcription
        for one in found.clips
    ]


KEPT = [saying(number).transcription for number in range(len(ASKED))]


# ----------------------------------------------------------------------------- writing and reading

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")) | st.text(" ")
ANSWERS = st.builds(
    Answer,
    transcription=TEXTS,
    tagged=TEXTS,
    detected_language=st.sampled_from(DETECTABLE),
    speaker_emotion=st.sampled_from(EMOTIONS),
    speaker_style=st.sampled_from(STYLES),
    speaker_pace=st.sampled_from(PACES),
    speaker_accent=TEXTS | st.just("unknown"),
)
NAMED = st.lists(st.builds(NamedAnswer, TEXTS, st.floats(0, 60), ANSWERS), max_size=5)


@given(NAMED)
def test_every_list_comes_back_to_the_letter(answers: list[NamedAnswer]) -> None:
    assert expand_several(shrink_several(answers)) == write_several(answers)
    assert expand_several(write_several(answers)) == write_several(answers)


@given(st.permutations(GIVEN), st.sampled_from([write_several, shrink_several]), st.data())
def test_replies_from_elsewhere_read_as_the_same(
    answers: list[NamedAnswer], write: Any, data: st.DataObject
) -> None:
    """In any order, with lengths as text, in a fence or without the object around them, and with words behind."""
    ((name, entries),) = write(answers).items()
    seconds = "seconds" if name == "clips" else "d"
    spelt = st.sampled_from(["{}", "{} s", " {}", "{} seconds"])
    for entry in entries:
        if data.draw(st.booleans()):
            entry[seconds] = data.draw(spelt).format(entry[seconds])
        if data.draw(st.booleans()):
            keys = data.draw(st.permutations(list(entry)))
            entry.update({key: entry.pop(key) for key in keys})
    held = data.draw(st.sampled_from([{name: entries}, entries, [{name: entries}]]))
    text = json.dumps(
        held, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    )
    around = [
        "{}",
        "```json\n{}\n```",
        "Here it is:\n```\n{}\n```\n",
        "\ufeff{}\n",
        "{}\nThat is all.",
        "{0}\n{0}",
    ]
    found = read_several(data.draw(st.sampled_from(around)).replace("{0}", "{}").replace("{}", text), ASKED)
    assert isinstance(found, SeveralAnswers), found
    assert codes(found) == KEPT
    assert [one.seconds for one in found.clips] == list(LENGTHS)
    assert not any(one.faults for one in found.clips)
    assert not found.faults


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | TEXTS | st.sampled_from([*IDS, "clips", "c"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["clips", "c", "clip", "i", "seconds", "d", *lean.KEYS, *transcript.FIELDS])
            | TEXTS,
            inner,
            max_size=9,
        )
    ),
    max_leaves=30,
)


@given(JSON.map(json.dumps) | st.text(), st.integers(0, 40))
def test_whatever_comes_nothing_raises_and_every_clip_has_one_end(text: str, cut: int) -> None:
    for reply in (text, text[:cut]):
        found = read_several(reply, ASKED)
        assert isinstance(found, Failure) or len(found.clips) == len(ASKED)


@given(st.lists(st.sampled_from([*IDS, "z9zz", "", "1"]), max_size=7), st.lists(st.floats(0, 20), min_size=7))
def test_no_text_goes_under_an_id_that_its_answer_does_not_bear(
    names: list[str], lengths: list[float]
) -> None:
    given_ = [
        NamedAnswer(name, length, saying(number))
        for number, (name, length) in enumerate(zip(names, lengths, strict=False))
    ]
    found = read_several(json.dumps(write_several(given_)), ASKED)
    assert isinstance(found, SeveralAnswers)
    times = Counter(names)
    for one, clip in zip(ASKED, found.clips, strict=True):
        if isinstance(clip.answer, Answer):
            assert times[one.clip] == 1
            assert clip.answer == saying(names.index(one.clip))
        else:
            assert clip.answer.code in set(ClipFault)


# ----------------------------------------------------------------------------- each fault


def test_all_is_well() -> None:
    found = read(GIVEN)
    assert codes(found) == KEPT
    assert found == read(GIVEN[::-1])


def test_a_missing_clip_is_missing_and_no_other_takes_its_place() -> None:
    found = read(GIVEN[:-1])
    assert codes(found) == [*KEPT[:-1], ClipFault.MISSING]
    assert found.faults == {ClipFault.TOO_FEW: 1}


def test_one_id_over_two_answers_is_nobodys() -> None:
    found = read([GIVEN[0], replace(GIVEN[1], clip=GIVEN[0].clip), *GIVEN[2:]])
    assert codes(found) == [ClipFault.DOUBLED, ClipFault.MISSING, *KEPT[2:]]


def test_the_same_answer_twice_is_kept_once_and_told() -> None:
    found = read([GIVEN[0], *GIVEN])
    assert codes(found) == KEPT
    assert found.clips[0].faults == (ClipFault.REPEATED,)
    assert found.faults == {ClipFault.TOO_MANY: 1}


def test_an_id_that_nobody_gave_is_not_guessed_at() -> None:
    found = read([replace(GIVEN[0], clip="z9zz"), *GIVEN[1:]])
    assert codes(found) == [ClipFault.MISSING, *KEPT[1:]]
    assert found.faults == {ClipFault.UNKNOWN: 1}


def test_counting_is_no_naming() -> None:
    found = read([replace(one, clip=str(number)) for number, one in enumerate(GIVEN, 1)])
    assert set(codes(found)) == {ClipFault.MISSING}


@pytest.mark.parametrize("spelt", ["{}", " {} ", "Clip {}", "clip {}:", "<{}>", "`{}`"])
def test_an_id_may_be_dressed_up(spelt: str) -> None:
    dressed = [replace(one, clip=spelt.format(one.clip.upper())) for one in GIVEN]
    assert codes(read(dressed)) == KEPT


def test_exchanged_ids_show_where_the_lengths_differ() -> None:
    found = read([replace(GIVEN[0], clip=IDS[2]), GIVEN[1], replace(GIVEN[2], clip=IDS[0]), GIVEN[3]])
    assert codes(found) == [ClipFault.SWAPPED, KEPT[1], ClipFault.SWAPPED, KEPT[3]]
    one = found.clips[0].answer
    assert isinstance(one, Failure)
    assert IDS[0] in one.message
    assert "8.0 s" in one.message
    turned = [replace(one, clip=IDS[(number + 1) % 4]) for number, one in enumerate(GIVEN)]
    assert set(codes(read(turned))) == {ClipFault.SWAPPED}


def test_exchanged_ids_of_clips_of_one_length_do_not_show() -> None:
    """The limit of what can be told from a reply alone."""
    asked = [replace(one, seconds=5.0) for one in ASKED]
    alike = [replace(one, seconds=5.0) for one in GIVEN]
    found = read([replace(alike[0], clip=IDS[1]), replace(alike[1], clip=IDS[0]), *alike[2:]], asked)
    assert codes(found) == [KEPT[1], KEPT[0], *KEPT[2:]]
    assert not are_told_apart(5.0, 5.9)
    assert are_told_apart(3.0, 5.2)


def test_a_poor_ear_alone_costs_no_clip() -> None:
    found = read([replace(GIVEN[0], seconds=30.0), *GIVEN[1:]])
    assert codes(found) == KEPT
    assert found.clips[0].faults == (ClipFault.LENGTH,)
    found = read([replace(one, seconds=5.0) for one in GIVEN])
    assert codes(found) == KEPT


def test_an_answer_that_is_none_costs_its_own_clip() -> None:
    held = write_several(GIVEN)
    held["clips"][1]["detected_language"] = "klingonese"
    del held["clips"][2]["tagged"]
    held["clips"][3]["transcription"] = " "
    found = read_several(json.dumps(held), ASKED)
    assert isinstance(found, SeveralAnswers)
    kinds = [one.answer.kind if isinstance(one.answer, Failure) else "kept" for one in found.clips]
    assert kinds[0] == "kept"
    assert kinds[2:] == [FailureKind.MALFORMED, FailureKind.EMPTY]
    assert found.clips[2].faults == (ClipFault.UNREADABLE,)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", FailureKind.EMPTY),
        ("I could not make out what is said.", FailureKind.MALFORMED),
        (json.dumps({"clips": {}}), FailureKind.MALFORMED),
        (json.dumps({"clips": [], "c": []}), FailureKind.MALFORMED),
        (json.dumps(asdict(ANSWER)), FailureKind.MALFORMED),
        (json.dumps(write_several(GIVEN))[:-40], FailureKind.MALFORMED),
        (json.dumps(write_several(GIVEN)) + json.dumps(write_several(GIVEN[:2])), FailureKind.MALFORMED),
    ],
)
def test_no_list_at_all_is_one_failure(text: str, kind: FailureKind) -> None:
    found = read_several(text, ASKED)
    assert isinstance(found, Failure)
    assert found.kind is kind


def test_an_empty_list_is_no_success() -> None:
    found = read([])
    assert set(codes(found)) == {ClipFault.MISSING}
    assert found.faults == {ClipFault.TOO_FEW: 1}


# ----------------------------------------------------------------------------- asking


def test_ids_are_alike_in_nothing_and_the_same_for_the_same_mark() -> None:
    for number in range(500):
        ids = make_ids(f"mark {number}", MOST_CLIPS)
        assert ids == make_ids(f"mark {number}", MOST_CLIPS)
        assert len(ids) == MOST_CLIPS
        assert len({one[0] for one in ids}) == len({one[1] for one in ids}) == MOST_CLIPS
    drawn = Counter(make_ids(f"mark {number}", 1)[0] for number in range(500))
    assert len(drawn) > 400


def test_nobody_is_told_how_long_a_clip_is_or_how_many_come_before_it() -> None:
    words = [several_prompt(4, AnswerForm.LEAN), *map(words_before, IDS)]
    assert not any("second" in one or "1" in one for one in words[1:])
    assert all(one in words[place] for place, one in enumerate(IDS, 1))
    assert [word for word in words[0].split() if word[0].isdigit()] == ["4", "4"]


@pytest.mark.parametrize("form", AnswerForm)
def test_the_schema_has_the_fields_of_a_single_answer_and_does_not_force_a_count(form: AnswerForm) -> None:
    ((_, held),) = several_schema(form)["properties"].items()
    single = transcript.response_schema(form)
    assert list(held["items"]["properties"])[2:] == list(single["properties"])
    assert held["items"]["required"][2:] == single["required"]
    assert not {"minItems", "maxItems"} & held.keys()


def test_changed_schemas_and_prose_need_new_versions() -> None:
    digests = {
        form: hashlib.sha256(json.dumps(several_schema(form)).encode()).hexdigest()[:12]
        for form in AnswerForm
    }
    assert SEVERAL_SCHEMA_VERSIONS == {AnswerForm.FULL: "3", AnswerForm.LEAN: "4"}
    assert digests == {AnswerForm.FULL: "673f23da2017", AnswerForm.LEAN: "cd5bc191df6c"}
    assert not set(SEVERAL_SCHEMA_VERSIONS.values()) & set(map(transcript.schema_version, AnswerForm))
    prose = "\n".join(
        [several_prompt(4, AnswerForm.FULL), several_prompt(2, AnswerForm.LEAN), words_before("k7qd")]
    )
    assert (prompt.PROMPT_VERSION, hashlib.sha256(prose.encode()).hexdigest()[:12]) == ("1", "c181a75b8edf")
    assert several_version(AnswerForm.LEAN, 2) == f"{prompt.PROMPT_VERSION}+lean+clips2"


def test_a_single_answer_reads_the_same_alone_and_among_others() -> None:
    rng = random.Random(7)
    for _ in range(50):
        texts = ["".join(rng.choices("कखग NO_SPEECH\u200b\xa0", k=8)) for _ in ASKED]
        given_ = [
            replace(one, answer=replace(one.answer, transcription=text, tagged=text))
            for one, text in zip(GIVEN, texts, strict=True)
        ]
        alone = [read_answer(json.dumps(asdict(one.answer))) for one in given_]
        assert [one.answer for one in read(given_).clips] == alone
