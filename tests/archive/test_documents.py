"""Results as bytes: they come back exactly, and the same results give the same bytes."""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipika import __version__
from lipika.archive.curator import CURATOR_KEYS
from lipika.archive.documents import (
    clip_result_from_json,
    clip_result_to_json,
    failed_result,
    read_results,
    segment_path,
    transcription_path,
)
from lipika.archive.members import END_OF_ARCHIVE, member_header, padding
from lipika.archive.metadata import language_of
from lipika.archive.video_documents import Summary, result_metadata
from lipika.db.result_rows import StoredAnswer, result_row
from lipika.models import (
    Accounting,
    Agreement,
    Alignment,
    Answer,
    AskedModel,
    AudioFacts,
    Clip,
    ClipResult,
    ClipStatus,
    Consensus,
    Discard,
    Failure,
    FailureKind,
    Finding,
    Lane,
    Provenance,
    SegmentName,
    ServiceTier,
    Severity,
    TextSource,
    Tier,
    Usage,
    Verdict,
    Voter,
    VoterKind,
    WordTime,
    words_from_json,
    words_to_json,
)

T = TypeVar("T")


# ----------------------------------------------------------------------------- examples


def answered(number: int, *, cost: float = 0.001, score: float = 0.9) -> ClipResult:
    """A transcribed clip of a second, by number."""
    name = SegmentName("speaker0", number * 100, number * 100 + 100)
    clip = Clip(
        name=name,
        segment=SegmentName("speaker0", 0, 100_000),
        original_start_ms=name.start_ms,
        original_end_ms=name.end_ms,
        trimmed_start_ms=name.start_ms,
        trimmed_end_ms=name.end_ms,
        leading_pad_ms=150,
        trailing_pad_ms=150,
        duration_ms=1300,
        sample_rate_hz=48_000,
        bit_depth=24,
        boundary_score=0.75,
        flags=("abrupt_end",),
        audio=AudioFacts(900, -23.5, -1.25, 31.0, 0.0, 7800),
        audio_digest=f"{number:064x}",
        trimmer_version="trim-1",
    )
    verdict = Verdict(
        findings=(Finding("fast_speech", Severity.WARN, "31 characters a second", (0, 4)),),
        quality_score=score,
        score_parts={"script": 1.0, "rate": 0.8},
        asr=Lane(True),
        tts_clean=Lane(False, ("boundary", "noise")),
        tts_expressive=Lane(False, ("boundary",)),
        lang_mismatch=False,
        overlap_suspected=False,
        num_unk=1,
        num_inaudible=0,
        num_event_tags=2,
        text_length_per_sec=13.5,
        validator_version="v-1",
    )
    return ClipResult(
        video_id="video-1",
        clip=clip,
        language_hint="hi",
        status=ClipStatus.TRANSCRIBED,
        answer=Answer("नमस्ते world", "[laugh] नमस्ते world", "hi", "happy", "energetic", "fast", "Awadhi"),
        verdict=verdict,
        failure=None,
        usage=Usage(700, 400, 300, 0, 90, 20),
        cost_usd=cost,
        provenance=Provenance(
            "aistudio", "gemini-x", "gemini-x-001", "p-1", "s-1", 0.0, "low", "worker-1", "batch-1", 1, 2100
        ),
    )


def failed(number: int) -> ClipResult:
    """A clip that ended without an answer."""
    return replace(
        answered(number),
        status=ClipStatus.FAILED,
        answer=None,
        verdict=None,
        failure=Failure(FailureKind.BLOCKED, "SAFETY", None, 200, "SAFETY"),
    )


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(-(2**63), 2**63 - 1)
SPEAKER = st.text(
    st.characters(codec="utf-8", exclude_characters="/", min_codepoint=32), min_size=1, max_size=8
)
TEXTS = st.lists(TEXT, max_size=2).map(tuple)
BY_TYPE: dict[object, st.SearchStrategy[Any]] = {
    int: COUNT,
    float: NUMBER,
    str: TEXT,
    bool: st.booleans(),
    int | None: st.none() | COUNT,
    float | None: st.none() | NUMBER,
    tuple[str, ...]: TEXTS,
    tuple[int, int] | None: st.none() | st.tuples(COUNT, COUNT),
    Mapping[str, float]: st.dictionaries(TEXT, NUMBER, max_size=2),
    Severity: st.sampled_from(Severity),
    FailureKind: st.sampled_from(FailureKind),
    ClipStatus: st.sampled_from(ClipStatus),
    TextSource: st.sampled_from(TextSource),
    ServiceTier: st.sampled_from(ServiceTier),
    Agreement: st.sampled_from(Agreement),
    Tier: st.sampled_from(Tier),
    VoterKind: st.sampled_from(VoterKind),
    tuple[str, str]: st.tuples(TEXT, TEXT),
}


def of(cls: type[T]) -> st.SearchStrategy[T]:
    """Any value of a dataclass, from what its fields may hold."""
    return st.builds(cls, **{name: BY_TYPE[hint] for name, hint in get_type_hints(cls).items()})


@st.composite
def segment_names(draw: st.DrawFn) -> SegmentName:
    start = draw(st.integers(0, 10**8))
    return SegmentName(draw(SPEAKER), start, start + draw(st.integers(1, 10**8)))


BY_TYPE[SegmentName] = segment_names()
BY_TYPE[tuple[Finding, ...]] = st.lists(of(Finding), max_size=2).map(tuple)
BY_TYPE[tuple[WordTime, ...]] = WORDS = st.lists(of(WordTime), max_size=2).map(tuple)
BY_TYPE[tuple[AskedModel, ...]] = st.lists(of(AskedModel), max_size=2).map(tuple)
for part in (AudioFacts, Answer, Lane, Failure, Usage, Provenance, Clip, Verdict, Alignment, Consensus):
    BY_TYPE[part] = of(part)
    BY_TYPE[part | None] = st.none() | of(part)
BY_TYPE[tuple[ClipResult, ...]] = st.just(())  # answers aside are in no document
BY_TYPE[tuple[Voter, ...]] = st.lists(of(Voter), max_size=2).map(tuple)
RESULTS = of(ClipResult)


# ----------------------------------------------------------------------------- one clip


@given(RESULTS)
def test_every_result_comes_back_exactly(result: ClipResult) -> None:
    data = clip_result_to_json(result)
    assert clip_result_from_json(data) == result
    assert clip_result_to_json(clip_result_from_json(data)) == data
    assert data.count(b"\n") == 1


@given(WORDS)
def test_words_come_back_from_a_compact_list(words: tuple[WordTime, ...]) -> None:
    held = json.loads(json.dumps(words_to_json(words)))
    assert words_from_json(held) == words


@pytest.mark.parametrize("item", ["मैं", ["मैं", 0, 1], ["मैं", 0, 1, 2, "sure"], ["मैं", 0.5, 1, 2, None], 3])
def test_what_is_no_word_is_refused(item: object) -> None:
    with pytest.raises(ValueError, match="is no word with its time"):
        words_from_json([item])


def test_a_document_has_the_words_and_a_row_has_them_in_little_space() -> None:
    word = WordTime("नमस्ते", 0, 150, 560, 0.93)
    heard = Alignment(0.9, Agreement.AGREE, "", "नमस्ते", "hi", "hi", "", "1", (word,), word_score=0.93)
    result = replace(answered(0), alignment=heard)
    document = json.loads(clip_result_to_json(result))["alignment"]
    assert document["words"] == [
        {"text": "नमस्ते", "at": 0, "start_ms": 150, "end_ms": 560, "confidence": 0.93}
    ]
    assert document["word_score"] == 0.93
    column = result_row(result).alignment
    assert column == asdict(heard) | {"words": words_to_json([word])}
    assert result_row(result).alignment_score == 0.9
    older = json.loads(clip_result_to_json(result))
    for key in ("words", "word_score", "words_missing"):
        del older["alignment"][key]  # a document of an earlier version
    assert clip_result_from_json(json.dumps(older).encode()).alignment == replace(
        heard, words=(), word_score=None
    )


def test_a_stored_answer_takes_the_words_of_the_same_alignment_alone() -> None:
    heard = Alignment(
        0.9, Agreement.AGREE, "", "x", "hi", "hi", "", "1", (WordTime("x", 0, 1, 2, None),), word_score=0.5
    )
    result = answered(0)
    row = StoredAnswer(
        segment_file=result.segment_file,
        audio_digest=result.clip.audio_digest,
        trimmer_version=result.clip.trimmer_version,
        language_hint="hi",
        status=result.status,
        answer=result.answer,
        failure=None,
        usage=result.usage,
        cost_usd=result.cost_usd,
        provenance=result.provenance,
        alignment=replace(heard, words=()),
    )
    assert row.add_words(replace(row, alignment=heard)).alignment == heard
    for other in (None, replace(heard, version="2"), replace(heard, heard="y")):
        assert row.add_words(replace(row, alignment=other)) == row
    assert replace(row, alignment=None).add_words(replace(row, alignment=heard)).alignment is None
    whole = replace(row, alignment=heard)
    assert whole.add_words(row) == whole


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_words_that_json_cannot_hold_are_refused(value: float) -> None:
    heard = Alignment(0.9, Agreement.AGREE, "", "", "hi", "hi", "", "1")
    for odd in (
        replace(heard, words=(WordTime("x", 0, 1, 2, value),)),
        replace(heard, word_score=value),
    ):
        with pytest.raises(ValueError, match="not finite"):
            clip_result_to_json(replace(answered(0), alignment=odd))


def test_a_document_says_everything_about_its_clip() -> None:
    document = json.loads(clip_result_to_json(answered(3)))
    assert document["segment_file"] == "speaker0_00300_00400.flac"
    assert document["transcription"] == "नमस्ते world"
    assert document["speaker"] == {
        "id": "speaker0",
        "emotion": "happy",
        "style": "energetic",
        "pace": "fast",
        "accent": "Awadhi",
    }
    assert document["alignment_score"] is None
    assert document["lanes"]["tts_clean"] == {"eligible": False, "reasons": ["boundary", "noise"]}
    assert document["findings"][0]["span"] == [0, 4]
    assert document["trim"]["trimmed_start_ms"] == 3000
    assert document["audio"]["facts"]["bandwidth_hz"] == 7800
    assert document["provenance"]["model_version"] == "gemini-x-001"
    assert document["usage"]["thoughts"] == 20
    assert document["failure"] is None


def test_a_clip_that_was_weighed_speaks_the_words_of_curator() -> None:
    voter = Voter("whisper", VoterKind.HYPOTHESES, "नमस्ते world जी", "0123")
    consensus = Consensus(Tier.SILVER, 0.1234, ("m", "whisper"), 2, "1+builtin")
    assert "primary_model_prediction" not in json.loads(clip_result_to_json(answered(0)))
    document = json.loads(clip_result_to_json(replace(answered(0), voters=(voter,), consensus=consensus)))
    assert document["agreement"]["tier"] == "silver"
    assert document["voters"] == [asdict(voter)]
    assert {key: document[key] for key in CURATOR_KEYS} == {
        "primary_model_prediction": "नमस्ते world",
        "fallback_model_prediction": "नमस्ते world जी",
        "primary_fallback_agreement_wer": 12.34,
        "primary_fallback_agreement_metric": "cer",
        "_skipme": "",
        "additional_notes": {"tier": "silver", "disagree_most": ["m", "whisper"], "voters": 2},
    }


def test_a_document_of_an_earlier_release_has_no_voters() -> None:
    older = json.loads(clip_result_to_json(answered(0)))
    del older["voters"], older["agreement"]
    assert clip_result_from_json(json.dumps(older).encode()) == answered(0)


def test_a_document_says_whose_text_it_is_and_one_of_an_earlier_release_is_the_models() -> None:
    edited = replace(answered(0), text_source=TextSource.PERSON)
    document = json.loads(clip_result_to_json(edited))
    assert document.pop("text_source") == "person"
    assert clip_result_from_json(json.dumps(document).encode()) == answered(0)
    assert failed_result(edited, "X", "broken").text_source is TextSource.MODEL
    with pytest.raises(ValueError, match="text_source"):
        clip_result_from_json(json.dumps(document | {"text_source": "machine"}).encode())


def test_a_failed_clip_carries_its_failure_instead_of_a_transcript() -> None:
    document = json.loads(clip_result_to_json(failed(0)))
    assert (document["status"], document["transcription"], document["lanes"]) == ("failed", None, None)
    assert document["failure"]["kind"] == "blocked"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_json_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"speaker0_00000_00100\.flac holds a number that is not finite"):
        clip_result_to_json(replace(answered(0), cost_usd=value))


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        clip_result_to_json(replace(answered(0), video_id="\ud800"))


def _without(key: str) -> bytes:
    document = json.loads(clip_result_to_json(answered(0)))
    del document[key]
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format": "other/1"}',
        _without("trim"),
        clip_result_to_json(answered(0)).replace(b'"transcribed"', b'"maybe"'),
        clip_result_to_json(answered(0)).replace(b"speaker0_00000_00100", b"nonsense"),
        clip_result_to_json(answered(0)).replace(b'"duration_ms":1300', b'"duration_ms":"long"'),
    ],
)
def test_what_is_no_document_of_ours_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        clip_result_from_json(data)


def test_results_are_read_back_from_an_archive() -> None:
    results = [answered(0), failed(1), answered(2)]
    files = [(segment_path("a"), b"fLaC")]
    files += [(transcription_path(r.clip.name.stem), clip_result_to_json(r)) for r in results]
    tar = b"".join(member_header(name, len(data)) + data + padding(len(data)) for name, data in files)
    assert list(read_results(io.BytesIO(tar + END_OF_ARCHIVE))) == results


# ----------------------------------------------------------------------------- one video


def summary_of(results: list[ClipResult]) -> Summary:
    summary = Summary()
    for result in results:
        summary.add(result)
    return summary


def metadata_of(original: dict[str, Any], results: list[ClipResult]) -> dict[str, Any]:
    accounting = Accounting(segments=5, segments_polished=4, segments_discarded=1, clips=len(results))
    accounting.discard_reasons = {"too_short": 1, "bad_audio": 2}
    discards = [Discard("speaker0_00000_00100.flac", "too_short", "1.0 s is under 2 s", whole_segment=True)]
    data = result_metadata(
        original, "video-1", "hi", accounting, discards, summary_of(results), {"segments_sha256": "00"}
    )
    parsed: dict[str, Any] = json.loads(data)
    return parsed


def test_metadata_is_the_original_plus_one_block() -> None:
    original = {"title": "वीडियो", "nested": {"a": [1, 2.5, None]}, "language": "hi"}
    got = metadata_of(original, [answered(0), answered(1, score=0.5), failed(2)])
    block = got.pop("transcription")
    assert got == original
    assert block["accounting"]["segments"] == 5
    assert block["accounting"]["discard_reasons"] == {"bad_audio": 2, "too_short": 1}
    assert block["discards"][0]["reason"] == "too_short"
    assert block["usage"] == {
        "prompt": 2100,
        "prompt_text": 1200,
        "prompt_audio": 900,
        "cached": 0,
        "output": 270,
        "thoughts": 60,
        "total": 2370,
    }
    assert block["cost_usd"] == pytest.approx(0.003)
    assert block["quality_score"] == {"count": 2, "mean": 0.7, "min": 0.5, "p10": 0.5, "p50": 0.5, "p90": 0.9}
    assert block["lanes"]["asr"] == {"clips": 2, "audio_ms": 2600, "reasons": {}}
    assert block["lanes"]["tts_clean"] == {"clips": 0, "audio_ms": 0, "reasons": {"boundary": 2, "noise": 2}}
    assert block["statuses"] == {"transcribed": 2, "failed": 1}
    assert block["findings"] == {"fast_speech:warn": 2}
    assert block["failures"] == {"blocked": 1}
    assert block["detected_languages"] == {"hi": 2}
    assert block["versions"]["lipika"] == __version__
    assert block["versions"]["models"] == {"aistudio gemini-x gemini-x-001": 3}
    assert block["digests"] == {"segments_sha256": "00"}


def test_the_order_of_arrival_does_not_show() -> None:
    # Costs that do not add up alike in every order, unless they are summed exactly.
    results = [answered(i, cost=10.0 ** -(i % 17), score=1 / (i + 1)) for i in range(300)]
    shuffled = results.copy()
    random.Random(7).shuffle(shuffled)
    assert sum(r.cost_usd for r in results) != sum(r.cost_usd for r in shuffled)
    assert metadata_of({}, results) == metadata_of({}, shuffled)
    assert summary_of(results).cost_usd == summary_of(shuffled).cost_usd


def test_an_archive_transcribed_again_keeps_what_the_first_run_said() -> None:
    first = metadata_of({"title": "x"}, [answered(0)])
    second = metadata_of(first, [answered(0), answered(1)])
    assert second["transcription"]["previous"] == first["transcription"]
    assert second["title"] == "x"


def test_a_video_without_results_has_a_summary_too() -> None:
    block = metadata_of({}, [])["transcription"]
    assert (block["quality_score"], block["cost_usd"], block["clips"]) == (None, 0.0, 0)


# ----------------------------------------------------------------------------- the video's language


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"language": "hi"}, "hi"),
        ({"language": "Hindi"}, "hi"),
        ({"Lang": "ta-IN"}, "ta"),
        ({"language_code": "bn_BD"}, "bn"),
        ({"languageCode": "pan"}, "pa"),
        ({"snippet": {"defaultAudioLanguage": "te", "defaultLanguage": "en"}}, "te"),
        ({"language": {"code": "ml", "name": "Malayalam"}}, "ml"),
        ({"languages": ["Klingon", "Urdu"]}, "ur"),
        ({"language": "unknown", "lang": "gu"}, "gu"),
        ({"language": None, "info": {"language": "Odia"}}, "or"),
        ({"language": "fr"}, None),
        ({"language": 3, "title": "hi"}, None),
        ({}, None),
    ],
)
def test_the_language_is_found_where_people_put_it(metadata: dict[str, Any], code: str | None) -> None:
    assert language_of(metadata) == code
