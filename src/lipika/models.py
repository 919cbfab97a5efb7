"""The vocabulary: frozen, typed nouns that every other module speaks in. Imports nothing of ours but `redaction`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from lipika.redaction import redact

JsonObject = Mapping[str, Any]
"""A JSON object that is passed through untouched (a video's own metadata)."""


# ----------------------------------------------------------------------------- segments and clips

_NAME = re.compile(r"(?P<speaker>[^/\x00-\x1f]+?)_(?P<start>[0-9]{5,10})_(?P<end>[0-9]{5,10})")
_LATEST_MS = 2**31 - 1
_LONGEST_STEM = 240  # bytes; with an ending it is a file's name


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """`<speaker>_<start>_<end>`, times in centiseconds on the video's clock, five digits or more."""

    speaker: str
    start_cs: int
    end_cs: int

    @classmethod
    def parse(cls, stem: str) -> Self:
        """Read a file stem such as `speaker0_00000_00850`.

        Raises:
            ValueError: the stem is not of that form, or ends before it starts.
        """
        match = _NAME.fullmatch(stem)
        if match is None:
            raise ValueError(
                f"{stem!r} is not <speaker>_<start>_<end> with times in centiseconds, of five digits or more"
            )
        name = cls(match["speaker"], int(match["start"]), int(match["end"]))
        if name.end_cs <= name.start_cs:
            raise ValueError(f"{stem!r} ends at or before its start")
        if name.end_ms > _LATEST_MS:
            raise ValueError(f"{stem!r} ends over {_LATEST_MS // 86_400_000} days after the video's start")
        if len(stem.encode("utf-8", "replace")) > _LONGEST_STEM:
            raise ValueError(
                f"{stem[:60]!r}... is longer than the {_LONGEST_STEM} bytes that file names hold"
            )
        return name

    @property
    def stem(self) -> str:
        return f"{self.speaker}_{self.start_cs:05d}_{self.end_cs:05d}"

    @property
    def start_ms(self) -> int:
        return self.start_cs * 10

    @property
    def end_ms(self) -> int:
        return self.end_cs * 10


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """Facts that the samples alone tell about a clip (measured before padding)."""

    speech_ms: int  # time above the segment's own silence threshold
    rms_dbfs: float
    peak_dbfs: float
    snr_db: float  # p90 - p10 of frame energy: a proxy, not a measurement
    clipped_share: float  # share of samples at full scale, 0..1
    bandwidth_hz: int  # highest frequency above the spectral peak - 50 dB


@dataclass(frozen=True, slots=True)
class Clip:
    """One piece of polished audio: what is sent, transcribed and packed.

    Times are ms on the video's clock. `original_*` is the part as split from its segment, `trimmed_*` what
    was kept of it; the pads are digital silence added outside the trimmed span.
    """

    name: SegmentName
    segment: SegmentName
    original_start_ms: int
    original_end_ms: int
    trimmed_start_ms: int
    trimmed_end_ms: int
    leading_pad_ms: int
    trailing_pad_ms: int
    duration_ms: int  # with pads: what the model hears
    sample_rate_hz: int  # of the packed clip
    bit_depth: int  # of the packed clip
    boundary_score: float  # 0..1, 1 = both edges in silence
    flags: tuple[str, ...]  # forced_cut, abrupt_start, abrupt_end, ...
    audio: AudioFacts
    audio_digest: (
        str  # sha256 hex over the samples sent, by which an answer is known again (`polish.sent_digest`)
    )
    trimmer_version: str


class SendFormat(StrEnum):
    """The form in which a clip goes to the model."""

    FLAC = "flac"
    OGG = "ogg"  # Vorbis: lossy
    WAV = "wav"  # for servers that take nothing else


class AnswerForm(StrEnum):
    """The form in which a model writes its answer; what is read from either is the same."""

    FULL = "full"
    LEAN = "lean"  # short keys and codes, the words once

    @property
    def schema_version(self) -> str:
        """The version that goes with every answer of this form."""
        return "2" if self is AnswerForm.LEAN else "1"

    @classmethod
    def from_schema(cls, version: str) -> AnswerForm | None:
        """The form of answers with this schema version; None for a version of another time."""
        return next((form for form in cls if form.schema_version == version), None)


@dataclass(frozen=True, slots=True)
class PolishedClip:
    """A clip with its two encodings; the same object where FLAC is sent and the source is 16 kHz, 16-bit already."""

    clip: Clip
    packed: bytes  # FLAC, mono, source rate and depth
    sent: bytes  # mono, 16 kHz, 16-bit
    sent_format: SendFormat = SendFormat.FLAC
    other_digest: str = ""  # of the same audio, as rows of earlier releases have it: over the bytes sent
    silent: bool = False  # nothing in it can be speech (`levels.cannot_be_speech`)


@dataclass(frozen=True, slots=True)
class Discard:
    """Audio or a member that went no further, and why. `segment_file` is the member's file name."""

    segment_file: str
    reason: str  # stable code: too_short, bad_name, bad_audio, empty, duplicate_name, ...
    message: str
    whole_segment: bool  # False: one part of a split segment
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Mishap:
    """An exception as texts, so that it can come from another process. Secrets have been taken out."""

    kind: str
    message: str
    traceback: str


# ----------------------------------------------------------------------------- answers and attempts


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt, or a sum of attempts, as metered by the provider.

    `prompt` includes text, audio and cached tokens. `output` is everything billed as output: total - prompt,
    so that thoughts are never missed even where the provider does not list them.
    """

    prompt: int = 0
    prompt_text: int = 0
    prompt_audio: int = 0
    cached: int = 0
    output: int = 0
    thoughts: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.output

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.prompt_text + other.prompt_text,
            self.prompt_audio + other.prompt_audio,
            self.cached + other.cached,
            self.output + other.output,
            self.thoughts + other.thoughts,
        )


class ServiceTier(StrEnum):
    """The way in which a service takes a request, and bills it: at once at the full price, or when there is room."""

    STANDARD = "standard"
    FLEX = "flex"

    @classmethod
    def read(cls, name: str) -> ServiceTier | None:
        """The tier of that name in any case; None for one that is not known, such as `priority`."""
        return next((tier for tier in cls if tier == name.lower()), None)


class FailureKind(StrEnum):
    """The reason why an attempt gave no answer. What follows from each kind stands in `FAILURE_RULES`."""

    RATE_MINUTE = "rate_minute"
    RATE_DAY = "rate_day"
    SPEND = "spend"
    OVERLOADED = "overloaded"
    SERVER = "server"
    TIMEOUT = "timeout"
    BAD_REQUEST = "bad_request"
    AUTH = "auth"
    PAYMENT = "payment"
    BLOCKED = "blocked"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    EMPTY = "empty"
    DEFECT = "defect"  # nobody refused anything: what came cannot be judged, written or stored


class Trouble(StrEnum):
    """`Failure.code` of what is in the way to a service, or of a quota that is zero; no clip is at fault.

    As long as the service has never answered, waiting mends none of it. Once it has, each may be an outage.
    """

    REDIRECT = "redirect"
    CERTIFICATE = "certificate"  # not trusted, expired, or made out to another name
    NAME = "name"  # it cannot be resolved
    TLS = "tls"  # not spoken, or refused
    NOT_HTTP = "not_http"
    PROXY = "proxy"  # it does not let us through
    LIMIT_ZERO = "limit_zero"  # a 429 that names a limit of 0; its kind is that of the quota


class Remedy(StrEnum):
    """The help for a clip after a failure. Unless it is `NONE` or `STOP`, the other provider is tried last."""

    WAIT = "waits"  # until there is room again; this is never an attempt
    RETRY = "is retried"  # a few times, with growing waits
    VARY = "is asked once in other words"
    ELSEWHERE = "goes to the other provider"
    NONE = "fails"
    STOP = "goes back"  # with its video


class Effect(StrEnum):
    """The meaning of a failure for the provider."""

    ANSWERED = "has answered"  # it is well: the failure is the clip's own
    SHUT = "shuts, asks for less"  # for as long as it says, then one probe; concurrency is cut
    PARKED_TO_RESET = "is parked until its reset"
    PARKED = "is parked for a while"
    CROWDED = "takes no more at once"  # many in a row, of several clips, shut it
    SUSPECT = "may be down"  # several clips prove an outage: then one probe goes at a time
    DOUBTED = "gets a second look"  # by another clip; where that is refused too, it is closed
    CLOSED = "is closed"  # for this life of the process


class InVain(StrEnum):
    """The proof that a clip waits in vain, because the fault is its own; nothing else ends its waiting."""

    NEVER = "-"
    OTHERS_ANSWERED = "others are answered"  # too often for chance
    ALONE = "others are answered, or nobody else is asked"
    PROBES = "its own probes fail"  # while the provider is down


class Stops(StrEnum):
    """The case in which a failure ends the worker."""

    NEVER = "-"
    MANY = "many in a row"  # it is the request that is wrong
    LAST = "no provider is left"
    FIRST = "no provider is left, or it is the first"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """All that follows from one kind of failure."""

    kind: FailureKind
    meaning: str
    words: str  # for people, on boards and where it is said what the work waits for
    remedy: Remedy
    effect: Effect
    in_vain: InVain = InVain.NEVER
    stops: Stops = Stops.NEVER
    is_429: bool = False

    @property
    def counts(self) -> bool:
        """True if it is one of the clip's attempts."""
        return self.remedy not in (Remedy.WAIT, Remedy.STOP)

    @property
    def closes(self) -> bool:
        """True if it may close a provider."""
        return self.effect in (Effect.DOUBTED, Effect.CLOSED)

    @property
    def is_the_clips(self) -> bool:
        """True if the provider speaks of the clip, rather than of its own state."""
        return self.effect is Effect.ANSWERED


_FAILURE_RULES = (
    FailureRule(
        FailureKind.RATE_MINUTE, "requests or tokens per minute", "requests or tokens per minute used up",
        Remedy.WAIT, Effect.SHUT, InVain.OTHERS_ANSWERED, is_429=True,
    ),
    FailureRule(
        FailureKind.RATE_DAY, "the day's quota", "daily quota used up",
        Remedy.WAIT, Effect.PARKED_TO_RESET, is_429=True,
    ),
    FailureRule(
        FailureKind.SPEND, "dollars", "spend limit",
        Remedy.WAIT, Effect.PARKED, is_429=True,
    ),
    FailureRule(
        FailureKind.OVERLOADED, "503, 529", "the service is overloaded",
        Remedy.WAIT, Effect.CROWDED, InVain.ALONE,
    ),
    FailureRule(
        FailureKind.SERVER, "other 5xx, a lost connection", "error at the provider",
        Remedy.RETRY, Effect.SUSPECT, InVain.PROBES,
    ),
    FailureRule(
        FailureKind.TIMEOUT, "no answer within the deadline", "no answer in time",
        Remedy.RETRY, Effect.SUSPECT, InVain.PROBES,
    ),
    FailureRule(
        FailureKind.BAD_REQUEST, "the request is refused as malformed", "request refused",
        Remedy.NONE, Effect.ANSWERED, stops=Stops.MANY,
    ),
    FailureRule(
        FailureKind.AUTH, "key, region or model is refused", "key, region or model refused",
        Remedy.RETRY, Effect.DOUBTED, stops=Stops.FIRST,
    ),
    FailureRule(
        FailureKind.PAYMENT, "out of credit", "out of credit",
        Remedy.STOP, Effect.CLOSED, stops=Stops.LAST,
    ),
    FailureRule(
        FailureKind.BLOCKED, "safety, recitation", "blocked by a filter",
        Remedy.ELSEWHERE, Effect.ANSWERED,
    ),
    FailureRule(
        FailureKind.TRUNCATED, "the answer was cut", "answer cut off",
        Remedy.VARY, Effect.ANSWERED,
    ),
    FailureRule(
        FailureKind.MALFORMED, "the answer breaks the schema", "answer not readable",
        Remedy.VARY, Effect.ANSWERED,
    ),
    FailureRule(
        FailureKind.EMPTY, "the answer has no text", "answer empty",
        Remedy.VARY, Effect.ANSWERED,
    ),
    FailureRule(
        FailureKind.DEFECT, "an exception of our own over one clip", "a defect in lipika",
        Remedy.NONE, Effect.ANSWERED,
    ),
)  # fmt: skip
FAILURE_RULES: Mapping[FailureKind, FailureRule] = {rule.kind: rule for rule in _FAILURE_RULES}
"""All that follows from a failure, for each kind: the whole policy. Engine, route, batches, canary, meters and boards
read it, and docs/architecture.md shows it."""

RATE_KINDS = frozenset(rule.kind for rule in _FAILURE_RULES if rule.is_429)
"""Failures that are a 429."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt as a value. `retry_after_s` is what the server asked for, if it said.

    It goes into rows, flags, boards and result tars: secrets are taken out as it is made, wherever that is.
    """

    kind: FailureKind
    message: str
    retry_after_s: float | None = None
    http_status: int | None = None
    code: str = (
        ""  # the provider's own: RESOURCE_EXHAUSTED, quota id, finish reason, error_type; or a `Trouble`
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redact(self.message))
        object.__setattr__(self, "code", redact(self.code))

    @property
    def stands(self) -> bool:
        """True if waiting mends nothing unless the service has answered before (`Trouble`)."""
        return self.code in _TROUBLES

    @property
    def rule(self) -> FailureRule:
        """The row of its kind."""
        return FAILURE_RULES[self.kind]

    def follows(self, *, answered: bool) -> FailureRule:
        """The row of its kind; but a `Trouble` closes a provider that has never answered, whatever the kind."""
        if self.stands and not answered:
            return replace(self.rule, remedy=Remedy.STOP, effect=Effect.CLOSED, stops=Stops.LAST)
        return self.rule


_TROUBLES = frozenset(Trouble)


@dataclass(frozen=True, slots=True)
class Answer:
    """A parsed, schema-valid transcript of one clip."""

    transcription: str
    tagged: str
    detected_language: str
    speaker_emotion: str
    speaker_style: str
    speaker_pace: str
    speaker_accent: str

    @property
    def no_speech(self) -> bool:
        return self.transcription.strip() == "NO_SPEECH"


# ----------------------------------------------------------------------------- validation


class Severity(StrEnum):
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation about a transcript. `code` is stable; `evidence` is for a person to read."""

    code: str
    severity: Severity
    evidence: str
    span: tuple[int, int] | None = None  # code points in `transcription`, where it makes sense


LANES = ("asr", "tts_clean", "tts_expressive")
"""The purposes that a clip is judged for: fields of `Verdict`, and names in documents and rows."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A yes or no to using a clip for one purpose, and every reason against it."""

    eligible: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of validation on one transcript. Scores are 0..1, 1 is best."""

    findings: tuple[Finding, ...]
    quality_score: float
    score_parts: Mapping[str, float]
    asr: Lane
    tts_clean: Lane
    tts_expressive: Lane
    lang_mismatch: bool
    overlap_suspected: bool
    num_unk: int
    num_inaudible: int
    num_event_tags: int
    text_length_per_sec: float
    validator_version: str


class Agreement(StrEnum):
    """The grade of agreement of an answer and a second recogniser, by the cuts of the language."""

    AGREE = "agree"
    WEAK = "weak"
    FLAG = "flag"
    REJECT = "reject"
    EXCLUDED = "excluded"  # they cannot be compared


@dataclass(frozen=True, slots=True)
class WordTime:
    """A word of an answer, as written there without punctuation around it, and its time in the clip.

    Times are milliseconds from the clip's first sample: its leading pad counts.
    """

    text: str
    at: int  # of its first code point in the transcription
    start_ms: int
    end_ms: int
    confidence: (
        float | None
    )  # 0..1, geometric mean of its pieces' posteriors; None: one the recogniser cannot write

    @property
    def span(self) -> tuple[int, int]:
        """The code points of the transcription it stands at, the end excluded."""
        return self.at, self.at + len(self.text)


def words_to_json(words: Iterable[WordTime]) -> list[list[str | int | float | None]]:
    """Words as JSON holds them in little space: text, place, start, end, confidence of each."""
    return [[word.text, word.at, word.start_ms, word.end_ms, word.confidence] for word in words]


def words_from_json(items: Iterable[object]) -> tuple[WordTime, ...]:
    """Words from what `words_to_json` made of them.

    Raises:
        ValueError: it is nothing of the kind.
    """
    words = []
    for item in items:
        match item:
            case [str(text), int(at), int(start_ms), int(end_ms), None]:
                words.append(WordTime(text, at, start_ms, end_ms, None))
            case [str(text), int(at), int(start_ms), int(end_ms), int() | float() as confidence]:
                words.append(WordTime(text, at, start_ms, end_ms, float(confidence)))
            case _:
                raise ValueError(f"{item!r} is no word with its time")
    return tuple(words)


@dataclass(frozen=True, slots=True)
class Alignment:
    """The words that a second recogniser heard in a clip, held against its answer."""

    score: float | None  # 0..1, 1 = the same; None: excluded
    agreement: Agreement
    excluded: str  # why they cannot be compared: a stable code; empty where they can
    heard: str
    language: str  # whose vocabulary was listened with, that of the answer
    spoken_language: str  # what it sounds like; empty where that cannot be told
    missing_tail: str  # words heard after the answer's end
    version: str  # of comparison, model and romanisation
    words: tuple[WordTime, ...] = ()  # of the answer
    word_score: float | None = None  # 0..1, geometric mean over the frames of words with a confidence
    words_missing: str = ""  # why there are none although it was listened to: a stable code
    share_lacking: float = 0.0  # of the words heard: the answer lacks them, or has others for them
    share_unheard: float = 0.0  # of the answer's words: they were not heard
    share_missing: float = 0.0  # of the words heard: the answer lacks them, with nothing in their place


class VoterKind(StrEnum):
    """The origin of a voter's text."""

    MODEL = "model"  # an audio LLM
    RECOGNISER = "recogniser"
    PERSON = "person"
    HYPOTHESES = "hypotheses"  # a folder of texts from elsewhere


@dataclass(frozen=True, slots=True)
class Voter:
    """One text of a clip. Texts of one `digest` were made in one way: one voice, however often it is heard."""

    name: str
    kind: VoterKind
    text: str  # as it was given: empty or NO_SPEECH where nobody speaks
    digest: str  # of model and way of asking, of a bundle, of a folder's name


class Tier(StrEnum):
    """The degree to which the voters of a clip agree, by the cuts of its language."""

    GOLD = "gold"  # all of them agree
    SILVER = "silver"  # another agrees with the clip's own text, or all of them nearly do
    BRONZE = "bronze"


@dataclass(frozen=True, slots=True)
class Consensus:
    """The sum of a clip's voters. `distance` is that of the two of them that disagree most, `between`."""

    tier: Tier
    distance: float  # 0..1, by sound: 0 = the same
    between: tuple[str, str]  # their names; of several pairs the first
    voters: int
    version: str  # of the way of weighing, with the romaniser


@dataclass(frozen=True, slots=True)
class Judged:
    """An accepted answer with what validation says about it."""

    answer: Answer
    verdict: Verdict

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """The better of two has the higher one: open for training first, then nothing doubted, then the score; more
        text alone is no better answer."""
        settled = all(found.severity is Severity.INFO for found in self.verdict.findings)
        return self.verdict.asr.eligible, settled, self.verdict.quality_score


class Advice(StrEnum):
    """The advice on a readable answer: keep it, or ask once more for a better one."""

    KEEP = "keep"  # no: it is as good as it gets
    VARY = "vary"  # the same provider, in other words; after that, the other provider
    ELSEWHERE = "elsewhere"  # the other provider


# ----------------------------------------------------------------------------- results


class ClipStatus(StrEnum):
    TRANSCRIBED = "transcribed"
    NO_SPEECH = "no_speech"
    FAILED = "failed"


class TextSource(StrEnum):
    """The writer of a clip's text."""

    MODEL = "model"
    PERSON = "person"  # edited or approved
    REFERENCE = "reference"  # a transcript from elsewhere


SIMULATED = "simulated"
"""Model version of the simulator; a later one of it begins like this."""


def is_made_up(model_version: str) -> bool:
    """True if a model says of itself that it is a simulator: nothing else tells, least of all where it is."""
    return model_version.startswith(SIMULATED)


@dataclass(frozen=True, slots=True)
class AskedModel:
    """One model of a cascade that was asked for a clip: what it cost, and why its answer did not end the clip; empty
    where it did, or where no other was left."""

    model_id: str
    usd: float
    because: str = ""
    answered: bool = True  # False: nothing came of it for no fault of the clip, and it may be asked again


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of an answer: enough to tell two runs apart."""

    provider: str
    model_id: str
    model_version: str
    prompt_version: str
    schema_version: str
    temperature: float | None
    thinking_level: str
    worker_id: str
    batch_id: str
    attempts: int
    latency_ms: int
    service_tier: ServiceTier = ServiceTier.STANDARD  # that the answer was served and billed at
    asked: bool = True  # False: nothing in it can be speech, and no request was made
    cascade: tuple[AskedModel, ...] = ()  # of a clip that went up in a cascade: all that were asked, in order


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The end of one clip: answer and verdict, or the failure that ended it; and what it cost."""

    video_id: str
    clip: Clip
    language_hint: str
    status: ClipStatus
    answer: Answer | None
    verdict: Verdict | None
    failure: Failure | None
    usage: Usage
    cost_usd: float
    provenance: Provenance
    reused: bool = False  # taken from an earlier, paid answer
    text_source: TextSource = TextSource.MODEL
    alignment: Alignment | None = None  # where a second recogniser has listened
    voters: tuple[Voter, ...] = ()  # beside the answer and that recogniser
    consensus: Consensus | None = None  # of all of them, where there are two and they were weighed
    model_answer: Answer | None = None  # the model's own, where a person's word stands in its place
    aside: tuple[
        ClipResult, ...
    ] = ()  # answers of other models of a cascade, at their own cost; in no document

    @property
    def segment_file(self) -> str:
        return f"{self.clip.name.stem}.flac"


@dataclass(slots=True)
class Accounting:
    """Counts of one video that must add up before it may be done. Counted as things happen.

    segments = segments_polished + segments_discarded; clips = transcribed + no_speech + failed.
    """

    segments: int = 0
    segments_polished: int = 0  # gave at least one clip
    segments_discarded: int = 0
    parts_discarded: int = 0  # parts of segments that gave other clips
    clips: int = 0
    transcribed: int = 0
    no_speech: int = 0
    failed: int = 0
    discard_reasons: dict[str, int] = field(default_factory=dict)

    def add_polished(self, clips: int, discards: Sequence[Discard]) -> None:
        """Count what one segment became: clips, or a discard; and the parts of it that went no further."""
        if clips:
            self.segments_polished += 1
            self.parts_discarded += len(discards)
        else:
            self.segments_discarded += 1
        for discard in discards:
            self.discard_reasons[discard.reason] = self.discard_reasons.get(discard.reason, 0) + 1

    def end(self, status: ClipStatus) -> None:
        """Count the end of one clip."""
        if status is ClipStatus.TRANSCRIBED:
            self.transcribed += 1
        elif status is ClipStatus.NO_SPEECH:
            self.no_speech += 1
        else:
            self.failed += 1

    def end_again(self, former: ClipStatus, status: ClipStatus) -> None:
        """Count another end of a clip instead of the one that it had."""
        if former is ClipStatus.TRANSCRIBED:
            self.transcribed -= 1
        elif former is ClipStatus.NO_SPEECH:
            self.no_speech -= 1
        else:
            self.failed -= 1
        self.end(status)

    def add_left_out(self, discard: Discard) -> None:
        """Count a clip that went no further after its segment had been counted."""
        self.parts_discarded += 1
        self.discard_reasons[discard.reason] = self.discard_reasons.get(discard.reason, 0) + 1

    def problem(self) -> str | None:
        """The sum that is wrong, in words; None when the identity holds."""
        if self.segments != self.segments_polished + self.segments_discarded:
            return (
                f"{self.segments} segments read, but {self.segments_polished} polished"
                f" + {self.segments_discarded} discarded"
            )
        if self.clips != self.transcribed + self.no_speech + self.failed:
            return (
                f"{self.clips} clips made, but {self.transcribed} transcribed"
                f" + {self.no_speech} without speech + {self.failed} failed"
            )
        return None


@dataclass(slots=True)
class TierSums:
    """The attempts that were served and billed at one tier, and their dollars."""

    answers: int = 0
    usd: float = 0.0


def add_to_tier(sums: dict[str, TierSums], tier: ServiceTier, usage: Usage, usd: float) -> None:
    """Count one attempt that came back; one that costs nothing was served at no tier."""
    if usage.total:
        at = sums.setdefault(tier, TierSums())
        at.answers += 1
        at.usd += usd


@dataclass(slots=True)
class ModelSums:
    """The attempts at one model of a cascade that were billed, their dollars, and the clips that went up from it."""

    answers: int = 0
    usd: float = 0.0
    went_up: int = 0

    def add(self, usage: Usage, usd: float) -> None:
        """Count one attempt that came back."""
        self.answers += usage.total > 0
        self.usd += usd


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One closed batch window, complete: every attempt it launched has ended. One `transcription_batches` row.

    An attempt counts in the batch that sent it, however late its answer comes.
    """

    batch_id: str
    worker_id: str
    video_ids: tuple[str, ...]
    started_at: float  # Unix time, seconds
    segments_sent: int  # attempts launched, first and repeated
    segments_returned: int  # attempts that brought an accepted answer
    segments_429: int
    segments_error: int  # other failed attempts
    segments_retried: int  # attempts of the window that were not the clip's first
    provider_used: str  # aistudio | openrouter | mixed | none
    cache_hits: int
    usage: Usage
    cost_usd: float
    avg_latency_ms: float
    p95_latency_ms: float
    batch_duration_ms: int  # first launch to last answer
    failure_kinds: Mapping[str, int]
    validation_scores: Mapping[str, float]  # count, mean, min, max of the scores of its clips
    latency_counts: tuple[int, ...] = ()  # attempts that came back, by place (`meters.place`)
    tiers: Mapping[str, TierSums] = field(default_factory=dict)  # by the tier that was served
    models: Mapping[str, ModelSums] = field(default_factory=dict)  # of a cascade, by model; else empty


# ----------------------------------------------------------------------------- the queue


class VideoStatus(StrEnum):
    PENDING = "pending"
    CLAIMED = "claimed"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"


class HintFrom(StrEnum):
    """The source of a video's language hint; each goes before the next."""

    FORCED = "forced"  # a person, whatever else says
    ROW = "row"  # the row of a list or table
    ARCHIVE = "archive"  # its own metadata, written back by a worker
    DEFAULT = "default"  # a person, for archives that say nothing

    @property
    def yields(self) -> bool:
        """True if what the archive says goes before it."""
        return self in (HintFrom.ARCHIVE, HintFrom.DEFAULT)


@dataclass(frozen=True, slots=True)
class NewVideo:
    """A video to put into the queue."""

    video_id: str
    source_key: str  # URL, or key below STORE_URL
    output_key: str
    language: str | None = None
    priority: int = 0
    segment_count: int | None = None
    source_bytes: int | None = None  # lets a worker bound what it holds
    language_from: HintFrom = HintFrom.ROW


@dataclass(frozen=True, slots=True)
class ClaimedVideo:
    """A video this worker owns until `lease_expires_at`; every write carries the token."""

    video_id: str
    claim_token: str
    source_key: str
    output_key: str
    language: str | None
    attempt: int
    source_bytes: int | None = None
    alone: bool = False  # its last attempt after crashes: nothing else should be at stake beside it
    language_from: HintFrom = HintFrom.ROW


@dataclass(frozen=True, slots=True)
class Was:
    """The way in which earlier answers were asked, and the language in which their clips were heard."""

    model_id: str
    model_version: str
    temperature: float | None
    thinking_level: str
    prompt_version: str
    schema_version: str
    trimmer_version: str
    language_hint: str
    detected_language: str
    no_speech: bool

    @property
    def made_up(self) -> bool:
        return is_made_up(self.model_version)
