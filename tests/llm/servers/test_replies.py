"""An answer that has been paid for is read, however odd its bytes: over HTTP, on both wires, with what it cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asking import a_request
from client_kit import Make, aistudio, both
from lipika.llm.provider import TranscriptionResponse
from lipika.llm.replies import body_object, one_line, parse_json
from lipika.llm.transcript import parse_answer
from lipika.models import Answer, FailureKind, Usage
from recorder import Page, recording
from transcript_kit import GOOD, written

METERED = Usage(prompt=700, prompt_text=450, prompt_audio=250, output=180, thoughts=60)


def whole(make: Make, text: str, *, finish: str = "", **more: object) -> dict[str, Any]:
    """A reply in which this is said, with the tokens of METERED."""
    if make is aistudio:
        details = [{"modality": "AUDIO", "tokenCount": 250}]
        usage: dict[str, Any] = {
            "promptTokenCount": 700,
            "candidatesTokenCount": 120,
            "thoughtsTokenCount": 60,
        }
        usage |= {"totalTokenCount": 880, "promptTokensDetails": details}
        candidate = {"content": {"parts": [{"text": text}]}, "finishReason": finish or "STOP"}
        return {"candidates": [candidate], "usageMetadata": usage, **more}
    usage = {"prompt_tokens": 700, "completion_tokens": 180, "prompt_tokens_details": {"audio_tokens": 250}}
    usage["completion_tokens_details"] = {"reasoning_tokens": 60}
    choice = {"message": {"content": text}, "finish_reason": finish or "stop"}
    return {"choices": [choice], "usage": usage, **more}


async def response_to(make: Make, body: bytes) -> TranscriptionResponse:
    async with recording(Page.of(body)) as server, make(server.url) as client:
        return await client.transcribe(a_request())


# ----------------------------------------------------------------------------- bytes


def beside(value: object, *, found: bytes = b"", put: bytes = b"") -> Callable[[dict[str, Any]], bytes]:
    """A reply with one more field, some of whose bytes are then replaced."""
    return lambda body: json.dumps({**body, "responseId": value}).encode().replace(found, put)


ODD_BODIES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "NaN beside it": beside(float("nan")),
    "Infinity beside it": beside(float("-inf")),
    "a number of 5,000 digits": beside("@", found=b'"@"', put=b"9" * 5000),
    "half of a surrogate pair beside it": beside("\ud83d"),
    "bad UTF-8 beside it": beside("@@", found=b"@@", put=b"\xff\xc0"),
    "a raw line break in a string": beside("@@", found=b"@@", put=b"\n\x01"),
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + json.dumps(body).encode(),
    "UTF-16": lambda body: json.dumps(body).encode("utf-16"),
    "UTF-16 without a mark": lambda body: json.dumps(body).encode("utf-16-le"),
    "a guard against scripts": lambda body: b")]}'\n" + json.dumps(body).encode(),
    "padding of zeros": lambda body: json.dumps(body).encode() + b"\x00" * 9,
    "a list of one": lambda body: json.dumps([body]).encode(),
}


@both
@pytest.mark.parametrize("odd", ODD_BODIES)
async def test_an_answer_in_odd_bytes_is_read_and_metered(make: Make, odd: str) -> None:
    response = await response_to(make, ODD_BODIES[odd](whole(make, written())))
    assert response.failure is None
    assert parse_answer(response.text) == Answer(**GOOD)  # type: ignore[arg-type]
    assert response.usage == METERED


@both
@pytest.mark.parametrize("escaped", [False, True])
async def test_half_of_a_surrogate_pair_in_the_words_is_for_the_schema_to_judge(
    make: Make, escaped: bool
) -> None:
    """Escaped in the reply's JSON, or once more in the answer's own: metered as it says, and malformed."""
    text = json.dumps({**GOOD, "transcription": "हाँ \ud83d"}, ensure_ascii=escaped)
    response = await response_to(make, json.dumps(whole(make, text)).encode())
    assert response.failure is None
    assert response.usage == METERED
    judged = parse_answer(response.text)
    assert not isinstance(judged, Answer)
    assert judged.kind is FailureKind.MALFORMED


@both
async def test_bad_utf8_in_the_words_shows_as_what_it_is(make: Make) -> None:
    body = json.dumps(whole(make, written(transcription="हाँ @")), ensure_ascii=False).encode()
    response = await response_to(make, body.replace(b"@", b"\xe0\xa4"))
    judged = parse_answer(response.text)
    assert isinstance(judged, Answer)
    assert judged.transcription == "हाँ \ufffd", "which validation finds"
    assert response.usage == METERED


@both
@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-5", b'"many"', b"null"])
async def test_an_absurd_count_does_not_cost_the_answer(make: Make, number: bytes) -> None:
    name = b'"totalTokenCount": 880' if make is aistudio else b'"completion_tokens": 180'
    body = json.dumps(whole(make, written())).encode()
    assert name in body
    response = await response_to(make, body.replace(name, name.rpartition(b" ")[0] + b" " + number))
    assert response.failure is None
    assert response.usage.prompt == 700
    assert 60 <= response.usage.output <= 1_000_000_000


@both
@pytest.mark.parametrize("rest", [b"{}", b"x", b', "a": 1}', b"[1]"])
async def test_what_is_not_one_reply_is_none(make: Make, rest: bytes) -> None:
    failure = (await response_to(make, json.dumps(whole(make, written())).encode() + rest)).failure
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.SERVER, "not_json")


@given(st.binary(max_size=60))
def test_no_bytes_however_odd_raise(body: bytes) -> None:
    assert isinstance(body_object(body), dict)
    for wrapped in (b'{"a": "' + body + b'"}', b"[" + body + b"]"):
        parse_json(wrapped)


def test_a_deep_body_is_no_reply() -> None:
    assert parse_json(b"[" * 1_000_000) is None
    assert parse_json(b'{"a":' * 200_000) is None


def test_a_servers_words_can_always_be_stored() -> None:
    assert one_line("a \ud83d\x00 b").encode() == b"a ? b"


# ----------------------------------------------------------------------------- cut at the limit

CUT = {aistudio: "MAX_TOKENS"}


@both
@pytest.mark.parametrize("ending", [" " * 3000, "\n" * 3000, "\n```", '."\n}' + "\t" * 100])
async def test_white_space_to_the_limit_does_not_cost_the_answer(make: Make, ending: str) -> None:
    body = whole(make, written() + ending, finish=CUT.get(make, "length"))
    response = await response_to(make, json.dumps(body).encode())
    assert response.failure is None
    assert parse_answer(response.text) == Answer(**GOOD)  # type: ignore[arg-type]
    assert response.usage == METERED


@both
@pytest.mark.parametrize(
    "text", [written()[:-1] + " " * 3000, written()[:40], "", written() + written(tagged="x")]
)
async def test_what_was_cut_stays_cut(make: Make, text: str) -> None:
    body = whole(make, text, finish=CUT.get(make, "length"))
    failure = (await response_to(make, json.dumps(body).encode())).failure
    assert failure is not None
    assert failure.kind is FailureKind.TRUNCATED
