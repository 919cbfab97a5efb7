"""Scriptable faults: which answers go wrong, how, when and how often.

A plan is a list of rules, in TOML (`[[faults]]` tables) or JSON:

    [[faults]]
    kind = "rate_minute"   # see FaultKind
    probability = 0.2      # of the requests it matches; decided by digest and attempt, not by chance
    from_s = 10            # window since the plan was put in place
    until_s = 70
    count = 50             # at most so many times
    attempts = 1           # only on the first attempt at a clip
    languages = ["hi"]     # the prompt's language hint
    max_temperature = 0.5  # only when asked at this temperature or below (the model's own is 1)
    thinking = ["LOW"]     # only at these levels
    wire = "openrouter"    # only through this API
    tiers = ["flex"]       # only where this service tier is asked for
    digests = ["0a1b"]     # hex prefixes of the audio's SHA-256
    least_clips = 2        # only for so many clips in one request, or more

The first rule that applies wins; rules about timing (`straggler`, `slow_body`) apply besides one other.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from lipika.errors import SettingsError
from lipika.simulator.exchange import Question, Wire

Clock = Callable[[], float]


class FaultKind(StrEnum):
    """Everything that can be made to go wrong."""

    # refused with an error status
    RATE_MINUTE = "rate_minute"  # 429: requests per minute
    RATE_TOKENS = "rate_tokens"  # 429: input tokens per minute
    RATE_DAY = "rate_day"  # 429: requests per day, to be retried in hours
    RATE_SEVERAL = "rate_several"  # 429: three violations at once
    RATE_BARE = "rate_bare"  # 429 without details
    RATE_MESSAGE = "rate_message"  # 429 whose delay is in the message only
    SPEND = "spend"  # 429 that names no quota and does not clear soon
    OVERLOADED = "overloaded"  # 503
    INTERNAL = "internal"  # 500
    DEADLINE = "deadline"  # 504
    BUSY = "busy"  # 529
    BAD_REQUEST = "bad_request"  # 400
    KEY_INVALID = "key_invalid"  # a key that stops working
    PERMISSION = "permission"  # 403
    REGION = "region"  # 400 FAILED_PRECONDITION
    MODEL_GONE = "model_gone"  # 404: a retired model
    PAYMENT = "payment"  # 402: out of credit
    MODERATION = "moderation"  # 403 with reasons
    ERROR_IN_200 = "error_in_200"  # HTTP 200 whose body is an error
    ERROR_IN_CHOICE = "error_in_choice"  # HTTP 200 whose choice is an error (OpenRouter)
    HTML = "html"  # a proxy's page instead of JSON

    # the connection
    HANG = "hang"  # no reply for `delay_s` (an hour)
    RESET = "reset"  # the connection is reset instead of a reply
    CUT_BODY = "cut_body"  # the connection closes in the middle of the reply
    SLOW_BODY = "slow_body"  # the body drips for `delay_s`
    STRAGGLER = "straggler"  # latency times `factor`

    # HTTP 200 without a usable answer
    BLOCKED_PROMPT = "blocked_prompt"  # no candidates
    SAFETY = "safety"
    RECITATION = "recitation"
    PROHIBITED = "prohibited"
    OTHER = "other"
    MAX_TOKENS = "max_tokens"  # cut at the output limit
    EMPTY = "empty"  # STOP with an empty text
    NO_PARTS = "no_parts"  # content without parts
    THOUGHTS_ONLY = "thoughts_only"
    MALFORMED = "malformed"  # JSON that stops in the middle, with STOP
    PROSE = "prose"  # a sentence instead of JSON
    MISSING_FIELDS = "missing_fields"
    DUPLICATE_ANSWER = "duplicate_answer"  # the JSON object comes twice
    RUNAWAY = "runaway"  # a loop up to the output limit

    # odd, but an answer
    SPLIT_PARTS = "split_parts"  # thoughts first, then the text in pieces
    FENCED = "fenced"  # JSON in a code fence
    NO_USAGE = "no_usage"
    PARTIAL_USAGE = "partial_usage"  # thoughts missing from the usage
    VERSION_DRIFT = "version_drift"  # another model answers

    # a wrong answer in the right form
    LOOP = "loop"  # a phrase over and over
    WRONG_LANGUAGE = "wrong_language"
    MARKUP = "markup"  # HTML and control tokens in the text
    PROMPT_ECHO = "prompt_echo"
    OTHER_CLIP = "other_clip"  # the text of another clip
    TAG_MISMATCH = "tag_mismatch"  # tagged and transcription differ
    INVENTED_SPEECH = "invented_speech"  # text for silence, too much of it for anything else
    FALSE_NO_SPEECH = "false_no_speech"
    EMPTY_TRANSCRIPTION = "empty_transcription"
    TIMESTAMPS = "timestamps"
    OTHER_WORDING = "other_wording"  # a `share` of the letters differs, as another provider's answer might

    # of several clips in one request; nothing happens to a single one
    SWAP_CLIPS = "swap_clips"  # the first two ids change places
    SWAP_TEXTS = "swap_texts"  # ... their words alone: lengths stay with the ids
    DROP_CLIP = "drop_clip"  # the last clip has no answer
    DOUBLE_CLIP = "double_clip"  # the first id stands over the second answer, too
    REPEAT_CLIP = "repeat_clip"  # the first answer comes twice
    STRANGE_CLIP = "strange_clip"  # the first answer has an id that nobody gave
    MERGE_CLIPS = "merge_clips"  # the first answer holds the words of the second one, too, which has none


_MODELS_OWN_TEMPERATURE = 1.0  # Gemini 3's, by Google's documentation

TIMING = frozenset({FaultKind.SLOW_BODY, FaultKind.STRAGGLER})


OF_SEVERAL_CLIPS = frozenset(
    {
        FaultKind.SWAP_CLIPS,
        FaultKind.SWAP_TEXTS,
        FaultKind.DROP_CLIP,
        FaultKind.DOUBLE_CLIP,
        FaultKind.REPEAT_CLIP,
        FaultKind.STRANGE_CLIP,
        FaultKind.MERGE_CLIPS,
    }
)


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One rule; every condition that is given must hold."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: FaultKind
    name: str = ""  # in the statistics; the kind where empty
    probability: float = 1.0
    from_s: float = 0.0
    until_s: float | None = None
    skip: int = 0  # matching requests to let pass first
    count: int | None = None
    attempts: int | None = None
    languages: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    least_clips: int = 1  # of the request
    models: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    wire: Wire | None = None
    tiers: tuple[str, ...] = ()
    max_temperature: float | None = None
    thinking: tuple[str, ...] = ()
    share: float = 0.05  # other_wording: of the letters
    retry_after_s: float | None = None  # what a refusal asks for; None: what is usual for its kind
    delay_s: float | None = None  # hang, slow_body
    factor: float = 20.0  # straggler


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The rules in order of precedence."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    faults: tuple[FaultRule, ...] = ()


def read_toml(path: Path) -> object:
    """The content of a TOML file.

    Raises:
        SettingsError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


@dataclass(frozen=True, slots=True)
class Picked:
    """The faults that befall one request."""

    main: FaultRule | None = None
    timing: FaultRule | None = None


class Faults:
    """A plan in force: it remembers when it began and how often each rule was met and used."""

    def __init__(self, plan: FaultPlan, *, seed: int, clock: Clock):
        self._rules = plan.faults
        self._seed = seed
        self._clock = clock
        self._began = clock()
        self._met = [0] * len(self._rules)
        self._used = [0] * len(self._rules)

    def pick(self, question: Question, attempt: int) -> Picked:
        """The rules that apply to the `attempt`-th request (from 1) for this question's audio."""
        if not self._rules:
            return _NOTHING
        main: FaultRule | None = None
        timing: FaultRule | None = None
        age_s = self._clock() - self._began
        for number, rule in enumerate(self._rules):
            taken = timing if rule.kind in TIMING else main
            if taken is not None or not self._applies(number, rule, question, attempt, age_s):
                continue
            self._used[number] += 1
            if rule.kind in TIMING:
                timing = rule
            else:
                main = rule
        return Picked(main, timing)

    def count_uses(self) -> dict[str, int]:
        """The number of uses of each rule, by name."""
        totals: dict[str, int] = {}
        for rule, used in zip(self._rules, self._used, strict=True):
            name = rule.name or str(rule.kind)
            totals[name] = totals.get(name, 0) + used
        return totals

    def _applies(self, number: int, rule: FaultRule, question: Question, attempt: int, age_s: float) -> bool:
        if not (_is_in_time(rule, age_s) and _matches(rule, question)):
            return False
        if rule.attempts is not None and attempt > rule.attempts:
            return False
        if rule.probability < 1 and self._draw(number, question, attempt) >= rule.probability:
            return False
        self._met[number] += 1
        if self._met[number] <= rule.skip:
            return False
        return rule.count is None or self._used[number] < rule.count

    def _draw(self, number: int, question: Question, attempt: int) -> float:
        """A number in 0..1 that depends on the clip and the attempt alone, not on the order of arrival."""
        mark = b"%d/%d/%d/" % (self._seed, number, attempt) + question.digest
        return int.from_bytes(hashlib.blake2b(mark, digest_size=8).digest(), "big") / 2**64


_NOTHING = Picked()


def _is_in_time(rule: FaultRule, age_s: float) -> bool:
    return rule.from_s <= age_s and (rule.until_s is None or age_s < rule.until_s)


def _matches(rule: FaultRule, question: Question) -> bool:
    return (
        (not rule.languages or question.language in rule.languages)
        and (not rule.models or question.model.model_id in rule.models)
        and (not rule.projects or question.project in rule.projects)
        and (rule.wire is None or rule.wire == question.wire)
        and (not rule.tiers or question.tier in rule.tiers)
        and (rule.max_temperature is None or _temperature(question) <= rule.max_temperature)
        and (not rule.thinking or question.thinking_level in rule.thinking)
        and max(len(question.clips), 1) >= rule.least_clips
        and (not rule.digests or question.digest.hex().startswith(rule.digests))
    )


def _temperature(question: Question) -> float:
    return _MODELS_OWN_TEMPERATURE if question.temperature is None else question.temperature
