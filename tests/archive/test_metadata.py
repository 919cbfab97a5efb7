"""A video's own metadata.json, as tools all over the world write it: kept as it came, and bounded."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lipika.archive.metadata import MAX_BYTES, Metadata, language_of
from lipika.archive.video_documents import Summary, amend_metadata, result_metadata
from lipika.models import Accounting

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def written(data: bytes) -> bytes:
    """The result's metadata.json for a video with these."""
    return result_metadata(Metadata.read(data), "v", None, Accounting(), [], Summary())


@pytest.mark.parametrize(
    "value",
    [
        "123456789012345678901234567890",
        "-9223372036854775809",
        "1.10",
        "1e400",
        "0.1000000000000000055511151231257827",
        "9" * 5000,
        '"\\u0939\\/\\u0940"',
        '[1, {"a":  18446744073709551616}]',
        '"हिन्दी"',
    ],
)
def test_values_are_written_as_they_came(value: str) -> None:
    data = written(f'{{"language": "hi", "channel_id": {value}}}'.encode())
    assert f'"channel_id": {value}'.encode() in data
    assert list(json.loads(data, parse_int=str)) == ["language", "channel_id", "transcription"]


def test_values_stay_when_a_result_is_transcribed_again_and_when_it_is_judged_again() -> None:
    once = written(b'{"id": 123456789012345678901234567890}')
    twice = written(once)
    judged = amend_metadata(twice, Summary(), ("lanes",), ("validator",), dict)
    for data in (once, twice, judged):
        assert json.loads(data)["id"] == 123456789012345678901234567890
    assert json.loads(twice)["transcription"]["previous"] == json.loads(once)["transcription"]
    assert json.loads(judged) == json.loads(twice)
    assert judged == twice


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"language": "Hindi"}',
        '{"language": "Hindi", "title": "हिन्दी é"}'.encode("utf-16"),
        '{"language": "hi", "title": "café – "}'.encode("cp1252"),
        '{"language": "hi", "title": "caf\u00e9\u0081"}'.encode("latin-1"),
        b'{"fps": NaN, "max": Infinity, "min": -Infinity, "NaN": "NaN, Infinity", "language": "hi"}',
        b'{"title": "two\nlines\tand a \x01", "language": "hi"}',
        b'  {"language":"hi"}\r\n\r\n',
    ],
    ids=["bom", "utf-16", "cp1252", "latin-1", "nan", "bare control characters", "white space"],
)
def test_nothing_odd_costs_the_language(data: bytes) -> None:
    metadata = Metadata.read(data)
    assert language_of(metadata.fields()) == "hi"
    strict = json.loads(written(data), parse_constant=pytest.fail)
    assert language_of({key: value for key, value in strict.items() if key != "transcription"}) == "hi"


def test_what_json_has_no_word_for_becomes_null_and_strings_stay() -> None:
    data = Metadata.read(b'{"a": [NaN, -Infinity, "NaN \\" NaN"], "b": "x\ny"}')
    assert json.loads(data.text) == {"a": [None, None, 'NaN " NaN'], "b": "x\ny"}


def within_64_bits(digits: str) -> int | float:
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(digits)


@example({"": -(2**63) - 1, "a": 2**64})
@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_any_object_comes_through(fields: dict[str, object]) -> None:
    fields.pop("transcription", None)
    try:
        text = json.dumps(fields, indent=1).encode()
        metadata = Metadata.read(text)
    except ValueError:  # lone surrogates
        return
    found = json.loads(written(text))
    found.pop("transcription")
    assert found == fields
    assert metadata.fields() == json.loads(text, parse_int=within_64_bits), (
        "to look at: beyond they lose digits"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"{" + b'"a":{' * 31 + b"}" * 32,
        b'{"a":'
        + b"[" * 30
        + b",".join([b"[]"] * 300_000)[: (1 << 20) - 500].rpartition(b",")[0]
        + b"]" * 30
        + b"}",
        b'{"a":[' + b"1," * 500_000 + b"1]}",
        b"{" + b",".join(b'"%d":%d' % (i, i) for i in range(70_000)) + b"}",
        b'{"a":"' + b"\\\\" * 500_000 + b'"}',
    ],
    ids=["deep", "lists", "numbers", "keys", "backslashes"],
)
def test_the_dearest_that_is_kept_is_cheap(data: bytes) -> None:
    """At 32 MB and with indentation a depth of 60 took 9 GB; what is written is about as large as what came."""
    assert len(data) <= MAX_BYTES
    started = time.process_time()
    out = written(data)
    language_of(Metadata.read(data).fields())
    assert (
        time.process_time() - started < 5
    )  # a hundred times what it takes: a square of the length would show
    assert len(out) < 1.5 * len(data) + 10_000
