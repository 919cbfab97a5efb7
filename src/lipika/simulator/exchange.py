"""The nouns between the wire formats and the simulation: a question, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lipika.llm.capabilities import Capabilities
from lipika.models import Answer, JsonObject, ServiceTier
from lipika.simulator.audio import SimulatedHearing
from lipika.simulator.tokens import Tokens


class Wire(StrEnum):
    GEMINI = "gemini"
    OPENROUTER = "openrouter"


@dataclass(frozen=True, slots=True)
class NamedClip:
    """One of several clips of a request, under the name that the words before it give."""

    name: str
    heard: SimulatedHearing


@dataclass(frozen=True, slots=True)
class Question:
    """One valid request, whatever its wire format. `digest` tells the audio (or the text, without any)."""

    wire: Wire
    project: str
    model: Capabilities
    common_text: str  # the system instruction: what an implicit cache may hold
    own_text: str  # everything else said in words
    heard: SimulatedHearing | None
    digest: bytes
    language: str  # code of the hinted language, "" without a hint
    wants_json: bool
    schema: JsonObject | None
    thinking_level: str
    max_output_tokens: int | None
    temperature: float | None = None  # None: the model's own
    tier: ServiceTier = ServiceTier.STANDARD  # that is asked for
    server_timeout_s: float | None = None  # after which the client wants no answer
    clips: tuple[NamedClip, ...] = ()  # where there are several; `heard` is all of them together


@dataclass(frozen=True, slots=True)
class ClipAnswer:
    """One of several answers in a reply."""

    name: str
    seconds: float
    answer: Answer


def name_clips(words: Sequence[str], heard: Sequence[SimulatedHearing]) -> tuple[NamedClip, ...]:
    """Several clips by the names in the words before each; none for a single one."""
    if len(heard) < 2:
        return ()
    named = [_NAME.findall(text) for text in words]
    return tuple(NamedClip(found[-1] if found else "", one) for found, one in zip(named, heard, strict=True))


_NAME = re.compile(r"(?i)\bclip\s+(\w+)")


class RefusalKind(StrEnum):
    """The reason why a valid request gets an error status."""

    RATE = "rate"
    SPEND = "spend"
    QPS = "qps"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"
    DEADLINE = "deadline"
    BUSY = "busy"
    BAD_REQUEST = "bad_request"
    KEY_INVALID = "key_invalid"
    PERMISSION = "permission"
    REGION = "region"
    MODEL_GONE = "model_gone"
    PAYMENT = "payment"
    MODERATION = "moderation"


class Quota(StrEnum):
    """A quota that can be used up."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    REQUESTS_PER_DAY = "requests_per_day"
    SPEND = "spend"
    REQUESTS_PER_SECOND = "requests_per_second"
    IN_FLIGHT = "in_flight"
    CREDIT = "credit"


class Details(StrEnum):
    """The amount of detail in a 429."""

    FULL = "full"  # QuotaFailure and RetryInfo
    BARE = "bare"  # nothing but the status
    MESSAGE = "message"  # the delay, at the end of the message


@dataclass(frozen=True, slots=True)
class Violation:
    quota: Quota
    limit: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not answered. `retry_after_s` is what the server asks for, if it asks."""

    kind: RefusalKind
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None
    details: Details = Details.FULL


class Shape(StrEnum):
    """The form of a reply; each wire format knows how it looks there."""

    USUAL = "usual"
    NO_PARTS = "no_parts"
    THOUGHTS_ONLY = "thoughts_only"
    SPLIT_PARTS = "split_parts"
    NO_USAGE = "no_usage"
    PARTIAL_USAGE = "partial_usage"
    ERROR_IN_200 = "error_in_200"
    ERROR_IN_CHOICE = "error_in_choice"


@dataclass(frozen=True, slots=True)
class Candidate:
    """The text that the model said. `finish` is Gemini's own word for why it stopped."""

    text: str
    finish: str = "STOP"
    block_reason: str = ""  # of a blocked prompt: no candidate at all
    shape: Shape = Shape.USUAL


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that is answered, well or badly, and is paid for."""

    answer_id: str
    candidate: Candidate
    tokens: Tokens
    cost_usd: float
    model_version: str
    avg_logprob: float
    tier: ServiceTier = ServiceTier.STANDARD  # that it was served at


class Ending(StrEnum):
    """The end of the connection."""

    REPLY = "reply"
    HANG_UP = "hang_up"  # closed without a byte
    RESET = "reset"
    CUT = "cut"  # closed in the middle of the body
    HTML = "html"  # a page from a proxy


@dataclass(frozen=True, slots=True)
class Delivery:
    """The journey of a reply, after `delay_s` seconds; `drip_s` is how long its body then takes."""

    delay_s: float
    drip_s: float = 0.0
    ending: Ending = Ending.REPLY

    @property
    def arrives(self) -> bool:
        """True if the client gets a whole page."""
        return self.ending in (Ending.REPLY, Ending.HTML)


@dataclass(frozen=True, slots=True)
class WholeReply:
    """An HTTP reply in full."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class WireError(Exception):
    """A request that a wire format refuses before it reaches the model."""

    def __init__(self, page: WholeReply) -> None:
        super().__init__(page.status)
        self.page = page


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """The answer that comes back. `fault` names the fault rule's kind behind it, for the request log."""

    outcome: Answered | Refusal
    delivery: Delivery
    fault: str = ""
