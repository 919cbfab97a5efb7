"""Replies as the world has them: a server whose answers are valid, or valid but for something that happened to them.

What is answered depends on the seed, the clip and how often it was asked, so that a run can be repeated. The
ledger notes what was asked and what a real service would have charged for.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from lipika.audio.codec import decode
from lipika.audio.polish import sent_digest
from lipika.models import SendFormat

MODEL_VERSION = "gemini-3-flash-preview"
PROMPT_TOKENS, AUDIO_TOKENS, OUTPUT_TOKENS = 500, 64, 90
_AUDIO = re.compile(rb'"data":\s*"([A-Za-z0-9+/=_-]{64,})"')


@dataclass(slots=True)
class Reply:
    """Bytes on the wire, and how they come. `paid`: a service would have charged for it."""

    what: str
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None  # what Content-Length says; None: the truth
    cut: int | None = None  # bytes of the body that come before the connection breaks
    before_s: float = 0.0
    silent: bool = False  # nothing ever comes
    paid: bool = False
    whole: bool = False  # its words about tokens arrive as they were meant
    complete: bool = False  # it holds one whole answer: whoever asks again pays twice

    def raw(self) -> bytes:
        length = len(self.body) if self.length is None else self.length
        head = [f"HTTP/1.1 {self.status} Said", f"Content-Length: {length}", "Content-Type: application/json"]
        head += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + self.body[: self.cut]


@dataclass(slots=True)
class Ledger:
    """What the server has seen."""

    asked: Counter[str] = field(default_factory=Counter)  # by clip
    lean: int = 0  # requests for a lean answer
    stormed: int = 0  # requests that came while everything was refused
    paid: Counter[str] = field(default_factory=Counter)
    whole: int = 0  # replies whose usage can be read
    kinds: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)  # by which complete answer first
    again: Counter[str] = field(
        default_factory=Counter
    )  # kinds of complete answers after which it was asked again

    @property
    def requests(self) -> int:
        return sum(self.asked.values())


@dataclass(frozen=True, slots=True)
class Weather:
    """How much goes wrong. Shares of replies; `poisoned` is of clips, which never get a good answer."""

    inner: float = 0.0  # the answer's own text
    outer: float = 0.0  # the body around it
    status: float = 0.0  # an HTTP error
    wire: float = 0.0  # connection and headers
    slow: float = 0.0  # refused for now
    poisoned: float = 0.0
    storm_s: float = 0.0  # from the first request on everything is refused, "for 0 s"


Maker = Callable[[random.Random, bool], Reply]
"""Takes chance, and whether a lean answer was asked for."""


# ----------------------------------------------------------------------------- a good answer


LEAN_KEYS = {
    "transcription": "t",
    "tagged": "g",
    "detected_language": "l",
    "speaker_emotion": "e",
    "speaker_style": "s",
    "speaker_pace": "p",
    "speaker_accent": "a",
}
_LEAN_ASKED = re.compile(rb'"required":\s*\["t",\s*"g"')


def the_answer(chance: random.Random, lean: bool = False) -> dict[str, Any]:
    words = ["पहले", "सोच", "लो", "फिर", "फ़ैसला", "करना", "दादी", "हर", "रात", "हमें", "कहानी", "सुनाती", "थीं"]
    text = " ".join(chance.sample(words, 4))
    if lean:
        return {"t": text, "g": "", "l": "hi", "e": "neu", "s": "conv", "p": "mod", "a": ""}
    return {
        "transcription": text,
        "tagged": text,
        "detected_language": "hi",
        "speaker_emotion": "neutral",
        "speaker_style": "conversational",
        "speaker_pace": "moderate",
        "speaker_accent": "unknown",
    }


def around(text: str, finish: str = "STOP", **changes: Any) -> dict[str, Any]:
    """The reply of generateContent around an answer's text."""
    body: dict[str, Any] = {
        "candidates": [
            {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}
        ],
        "usageMetadata": {
            "promptTokenCount": PROMPT_TOKENS,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": PROMPT_TOKENS - AUDIO_TOKENS},
                {"modality": "AUDIO", "tokenCount": AUDIO_TOKENS},
            ],
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": PROMPT_TOKENS + OUTPUT_TOKENS,
        },
        "modelVersion": MODEL_VERSION,
        "responseId": "r",
    }
    body |= changes
    return {key: value for key, value in body.items() if value is not None}


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def good(chance: random.Random, lean: bool) -> Reply:
    body = dumped(around(dumped(the_answer(chance, lean)))).encode()
    return Reply("good", body=body, paid=True, whole=True, complete=True)


# ----------------------------------------------------------------------------- the answer's own text


def inner(chance: random.Random, lean: bool) -> Reply:
    """A model that does not write quite what it was asked to."""
    answer = the_answer(chance, lean)
    text = dumped(answer)
    name = LEAN_KEYS if lean else {key: key for key in LEAN_KEYS}
    words, tagged = name["transcription"], name["tagged"]
    said = answer[words]
    kinds: dict[str, str] = {
        "a fence": f"```json\n{text}\n```",
        "a fence without line breaks": f"```JSON{text}```",
        "a fence that stays open": f"```json\n{text}",
        "a stray end": f'{text}."\n}}',
        "words before it": f"Here is the transcription:\n{text}",
        "words after it": f"{text}\nI hope this helps!",
        "a list of one": f"[{text}]",
        "a list of two": f"[{text}, {dumped(answer | {words: 'और'})}]",
        "a JSON string": dumped(text),
        "white space to the limit": text + " \n" * 5_000,
        "the same again": f"{text}\n{text}",
        "another one after it": f"{text}\n{dumped(answer | {words: 'कुछ और'})}",
        "a lone surrogate, escaped": text.replace(said[0], "\\ud83d", 1),
        "a number that is none": text.replace('"neu"' if lean else '"neutral"', "NaN"),
        "a field missing": dumped({key: value for key, value in answer.items() if key != tagged}),
        "an unknown emotion": dumped(answer | {name["speaker_emotion"]: "wistful"}),
        "a field too many": dumped(answer | {"confidence": 0.9}),
        "null for a text": dumped(answer | {words: None}),
        "a number for a text": dumped(answer | {words: 7}),
        "bytes as tokens": dumped(answer | {words: said + "<0xE0><0xA4>"}),
        "control tokens": dumped(answer | {words: said + "<ctrl46>"}),
        "invisible characters": dumped(answer | {words: "\ufeff" + said.replace(" ", "\u00a0\u00ad")}),
        "a NUL": dumped(answer | {words: said + "\0"}),
        "a raw line break in a string": text.replace(" ", "\n", 1).replace(said[:3], said[:3] + "\n", 1),
        "a loop": dumped(answer | {words: "हाँ " * 2_000}),
        "cut short": text[: chance.randrange(1, len(text))],
        "single quotes": str(answer),
        "a comma too many": text[:-1] + ",}",
        "brackets without end": "[" * 20_000,
        "nothing": "",
        "only white space": "  \n ",
        "plain words": said,
        "a mark at its start": "\ufeff" + text,
        "keys in capitals": dumped({key.upper(): value for key, value in answer.items()}),
        **(_lean_only(answer, text) if lean else {}),
    }
    what, changed = chance.choice(list(kinds.items()))
    body = json.dumps(around(changed)).encode()
    return Reply(f"inner: {what}", body=body, paid=True, whole=True, complete=what in _COMPLETE)


def _lean_only(answer: dict[str, Any], text: str) -> dict[str, str]:
    """Mistakes in the keys and codes of a lean answer."""
    full = {name: answer[key] for name, key in LEAN_KEYS.items()}
    return {
        "the keys of the other form": dumped(full),
        "words in place of codes": text.replace('"neu"', '"neutral"').replace('"mod"', '"moderate"'),
        "codes in capitals": text.replace('"neu"', '"NEU"'),
        "a code of no pace": text.replace('"mod"', '"brisk"'),
        "no code at all": text.replace('"conv"', '""'),
        "the words twice": dumped(answer | {"g": answer["t"]}),
        "a blank for the second text": dumped(answer | {"g": " "}),
        "null for the second text": dumped(answer | {"g": None}),
        "a list of tags": dumped(answer | {"g": ["[laugh]"]}),
        "keys of both forms": dumped(answer | {"tagged": answer["t"]}),
        "a key twice": text[:-1] + ', "t": "और"}',
    }


_COMPLETE = {
    "words in place of codes",
    "codes in capitals",
    "the words twice",
    "a fence",
    "a fence without line breaks",
    "a fence that stays open",
    "a stray end",
    "a list of one",
    "a JSON string",
    "white space to the limit",
    "the same again",
    "a mark at its start",
}
_COMPLETE_AROUND = {
    "NaN",
    "a huge number",
    "text in pieces",
    "thoughts before it",
    "no version",
    "usage in texts",
    "a mark at its start",
    "space around it",
}


# ----------------------------------------------------------------------------- the body around it


def outer(chance: random.Random, lean: bool) -> Reply:
    """A complete answer in a body that is not quite what the reference says."""
    answer = dumped(the_answer(chance, lean))
    half = len(answer) // 2
    plain = around(answer)
    usage: dict[str, Any] = plain["usageMetadata"]
    candidate: dict[str, Any] = plain["candidates"][0]
    kinds: dict[str, bytes] = {
        "a lone surrogate": json.dumps(around(answer)).replace("\\u", "\\ud83d\\u", 1).encode(),
        "bad UTF-8": dumped(plain).encode().replace("क".encode(), b"\xe0\xa4", 1),
        "NaN": dumped(plain | {"avgLogprobs": float("nan")}).encode(),
        "a huge number": dumped(plain | {"createTime": 10**400}).encode(),
        "text in pieces": dumped(
            around(
                "",
                candidates=[
                    candidate | {"content": {"parts": [{"text": answer[:half]}, {"text": answer[half:]}]}}
                ],
            )
        ).encode(),
        "thoughts before it": dumped(
            around(
                "",
                candidates=[
                    candidate | {"content": {"parts": [{"text": "hm", "thought": True}, {"text": answer}]}}
                ],
            )
        ).encode(),
        "thoughts only": dumped(
            around("", candidates=[candidate | {"content": {"parts": [{"text": "hm", "thought": True}]}}])
        ).encode(),
        "no parts": dumped(around("", candidates=[candidate | {"content": {"role": "model"}}])).encode(),
        "parts that are null": dumped(
            around("", candidates=[candidate | {"content": {"parts": None}}])
        ).encode(),
        "no candidates": dumped(around("", candidates=[])).encode(),
        "a blocked prompt": dumped(
            around("", candidates=None, promptFeedback={"blockReason": "PROHIBITED_CONTENT"})
        ).encode(),
        "a candidate that is a text": dumped(around("", candidates=[answer])).encode(),
        "no version": dumped(around(answer, modelVersion=None)).encode(),
        "a version that is a number": dumped(around(answer, modelVersion=3)).encode(),
        "no usage": dumped(around(answer, usageMetadata=None)).encode(),
        "usage in texts": dumped(
            around(answer, usageMetadata={key: str(value) for key, value in usage.items()})
        ).encode(),
        "usage below zero": dumped(around(answer, usageMetadata=usage | {"promptTokenCount": -5})).encode(),
        "usage beyond all": dumped(
            around(answer, usageMetadata=usage | {"cachedContentTokenCount": 10**30})
        ).encode(),
        "a list around it": dumped([plain]).encode(),
        "a mark at its start": b"\xef\xbb\xbf" + dumped(plain).encode(),
        "space around it": b"\n\n" + dumped(plain).encode() + b"\n" * 1_000,
        "an error inside": dumped(
            {"error": {"code": 500, "message": "internal", "status": "INTERNAL"}}
        ).encode(),
        "a web page": b"<html><body>Sign in to the network</body></html>",
        "nothing": b"",
        "null": b"null",
        "brackets without end": b"[" * 50_000,
    }
    for finish in (
        "MAX_TOKENS",
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "OTHER",
        "A_NEW_ONE",
        "MALFORMED_RESPONSE",
    ):
        kinds[f"finished by {finish}"] = dumped(around(answer[:half], finish)).encode()
    what, body = chance.choice(list(kinds.items()))
    if chance.random() < 0.2:
        what, body = "some bytes have changed", _scratched(chance, dumped(plain).encode())
    return Reply(
        f"outer: {what}", body=body, paid=b"totalTokenCount" in body, complete=what in _COMPLETE_AROUND
    )


def _scratched(chance: random.Random, body: bytes) -> bytes:
    broken = bytearray(body)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(broken))
        match chance.randrange(4):
            case 0:
                broken[at] ^= 1 << chance.randrange(8)
            case 1:
                del broken[at : at + chance.randrange(1, 20)]
            case 2:
                broken[at:at] = chance.randbytes(chance.randrange(1, 9))
            case _:
                broken[at:at] = broken[at : at + chance.randrange(1, 60)]
    return bytes(broken)


# ----------------------------------------------------------------------------- HTTP errors


def status(chance: random.Random, _lean: bool) -> Reply:
    """An error about this one request."""
    code = chance.choice((400, 400, 409, 413, 422, 499, 500, 500, 500, 502, 504, 418, 204, 206))
    bodies = (
        dumped({"error": {"code": code, "message": "something is wrong", "status": "INTERNAL"}}).encode(),
        b"<html><h1>Bad Gateway</h1></html>",
        b"",
        b"\xff\xfe",
        dumped([{"error": {"code": code, "message": None}}]).encode(),
        dumped({"error": "a text"}).encode(),
    )
    return Reply(f"status {code}", code, chance.choice(bodies) if code != 204 else b"")


def slow(chance: random.Random, _lean: bool) -> Reply:
    """Refused for now, with all the ways there are of saying how long."""
    code = chance.choice((429, 429, 503, 529))
    details: list[dict[str, Any]] = []
    if chance.random() < 0.6:
        delay = chance.choice(("0s", "0.000s", "0.2s", "1s", "", "soon", "-1s"))
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    if code == 429 and chance.random() < 0.5:
        quota = chance.choice(("GenerateRequestsPerMinutePerProject", "GenerateContentInputTokensPerMinute"))
        details.append(
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}
        )
    words = chance.choice(("Resource has been exhausted", "Please retry in 350ms.", "overloaded", ""))
    body = {"error": {"code": code, "message": words, "status": "RESOURCE_EXHAUSTED", "details": details}}
    after = chance.choice((None, "0", "1", "abc", "-3", "0.5"))
    headers = (("Retry-After", after),) if after else ()
    return Reply(f"status {code} for now", code, dumped(body).encode(), headers)


def stormy(chance: random.Random) -> Reply:
    """Refused, with the word that there is nothing to wait for."""
    code, quota = chance.choice(
        ((429, "GenerateRequestsPerMinutePerProject"), (429, "GenerateRequestsPerDayPerProject"), (503, ""))
    )
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": chance.choice(("0s", "0.000s"))}
    ]
    if quota:
        violation = {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": quota}],
        }
        details.append(violation)
    body = {
        "error": {"code": code, "message": "exhausted", "status": "RESOURCE_EXHAUSTED", "details": details}
    }
    return Reply(f"storm {code}", code, dumped(body).encode(), (("Retry-After", "0"),))


# ----------------------------------------------------------------------------- the wire


def wire(chance: random.Random, lean: bool) -> Reply:
    """A good answer that does not arrive as it was sent."""
    reply = good(chance, lean)
    body = reply.body
    match chance.randrange(9):
        case 0:
            return Reply("wire: nothing comes", silent=True)
        case 1:
            return Reply("wire: closed at once", cut=0, length=-1)
        case 2:
            return Reply("wire: breaks off", body=body, cut=chance.randrange(len(body)), paid=True)
        case 3:
            return Reply(
                "wire: longer than it is", body=body, length=len(body) + 100, cut=len(body), paid=True
            )
        case 4:
            return Reply(
                "wire: a header too long", body=body, headers=(("X-Trace", "x" * 100_000),), paid=True
            )
        case 5:
            return Reply("wire: late", body=body, before_s=0.3, paid=True, whole=True)
        case 6:
            packed = zlib.compress(body)
            return Reply(
                "wire: deflate",
                body=packed,
                headers=(("Content-Encoding", "deflate"),),
                paid=True,
                whole=True,
            )
        case 7:
            return Reply(
                "wire: not the encoding it names",
                body=body,
                headers=(("Content-Encoding", "gzip"),),
                paid=True,
            )
        case _:
            return Reply(
                "wire: a header of another world",
                body=body,
                headers=(("X-Naïve", "ÿ"),),
                paid=True,
                whole=True,
            )


# ----------------------------------------------------------------------------- the other wire format


def as_chat(reply: Reply) -> Reply:
    """The same reply as OpenRouter would word it; what is no reply of Gemini's stays as it is."""
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return reply
    if not isinstance(body, dict) or "usageMetadata" not in body or not body.get("candidates"):
        return reply
    candidate = body["candidates"][0]
    parts = (candidate.get("content") or {}).get("parts") if isinstance(candidate, dict) else None
    finish = candidate.get("finishReason") if isinstance(candidate, dict) else None
    content = "".join(str(part.get("text", "")) for part in parts or [] if not part.get("thought"))
    chat = {
        "id": "r",
        "model": f"google/{body.get('modelVersion')}",
        "choices": [
            {
                "message": {"role": "assistant", "content": content},
                "finish_reason": {"STOP": "stop", "MAX_TOKENS": "length"}.get(str(finish), "content_filter"),
                "native_finish_reason": finish,
            }
        ],
        "usage": {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": PROMPT_TOKENS + OUTPUT_TOKENS,
            "prompt_tokens_details": {"audio_tokens": AUDIO_TOKENS},
            "cost": 0.0004,
        },
    }
    return replace(reply, body=json.dumps(chat).encode(), cut=None if reply.cut is None else reply.cut // 2)


# ----------------------------------------------------------------------------- the server


def the_reply(seed: int, weather: Weather, clip: str, nth: int, lean: bool = False) -> Reply:
    """What the `nth` request for a clip is answered."""
    if random.Random(f"{seed} {clip}").random() < weather.poisoned:
        poisons: tuple[Maker, ...] = (status, wire, outer, inner)
        maker = random.Random(f"{seed} {clip} poison").choice(poisons)
        return maker(random.Random(f"{seed} {clip} always"), lean)
    chance = random.Random(f"{seed} {clip} {nth}")
    makers: tuple[Maker, ...] = (inner, outer, status, wire, slow)
    at = chance.random()
    for maker, share in zip(
        makers, (weather.inner, weather.outer, weather.status, weather.wire, weather.slow), strict=True
    ):
        if at < share:
            return maker(chance, lean)
        at -= share
    return good(chance, lean)


class World:
    """The server and its ledger."""

    def __init__(self, seed: int, weather: Weather) -> None:
        self.ledger = Ledger()
        self._seed, self._weather = seed, weather
        self._first_s: float | None = None  # when the first clip was asked for
        self.url = ""

    @property
    def urls(self) -> dict[str, str]:
        """Settings that lead both providers here, each with a key."""
        return {
            "GEMINI_BASE_URL": self.url,
            "OPENROUTER_BASE_URL": self.url,
        }

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, for as long as it holds."""
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length:\s*(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        audio = _AUDIO.search(body)
        if head.startswith(b"GET") or audio is None:
            model = dumped({"name": f"models/{MODEL_VERSION}", "version": "001"}).encode()
            writer.write(Reply("model", body=model).raw())
            await writer.drain()
            return True
        if self._storming():
            self.ledger.stormed += 1
            return await _send(stormy(random.Random(f"{self._seed} {self.ledger.stormed}")), reader, writer)
        clip = sent_digest(decode(base64.b64decode(audio[1])), SendFormat.FLAC)
        self.ledger.asked[clip] += 1
        lean = _LEAN_ASKED.search(body) is not None
        self.ledger.lean += lean
        reply = the_reply(self._seed, self._weather, clip, self.ledger.asked[clip], lean)
        if b"/chat/completions" in head[:200]:
            reply = as_chat(reply)
        if clip in self.ledger.answered:
            self.ledger.again[self.ledger.answered.pop(clip)] += 1
        if reply.complete:
            self.ledger.answered[clip] = reply.what
        self.ledger.kinds[reply.what] += 1
        self.ledger.last[clip] = reply.what
        self.ledger.paid[clip] += reply.paid
        self.ledger.whole += reply.whole
        return await _send(reply, reader, writer)

    def _storming(self) -> bool:
        now = time.monotonic()
        self._first_s = now if self._first_s is None else self._first_s
        return now - self._first_s < self._weather.storm_s


async def _send(reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Returns whether the connection may be used again."""
    if reply.silent:
        await reader.read(1)  # until the other side has had enough
        return False
    if reply.length == -1:
        return False
    if reply.before_s:
        await asyncio.sleep(reply.before_s)
    writer.write(reply.raw())
    await writer.drain()
    return reply.cut is None


@contextmanager
def a_world(seed: int, weather: Weather) -> Iterator[World]:
    """The server on a free port of this machine, in a thread of its own."""
    world, ready, loop = World(seed, weather), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(world.answer, "127.0.0.1", 0, limit=1 << 20)
        world.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield world
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
