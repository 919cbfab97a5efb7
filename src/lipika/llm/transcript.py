"""The answer a model must give: its fields, their closed vocabularies, the schema on the wire, the reader.

The reader is tolerant of wrapping (white space, a code fence, a stray ending, the same object twice) and strict on
structure: two different objects are no answer. It never repairs or invents text. What is stored is in NFC, without a
few characters that nobody sees or hears (`tidy_text`); whatever else is odd inside is for `validation` to find.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeGuard

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from lipika.languages import DETECTABLE, find_language
from lipika.llm import lean
from lipika.models import Answer, AnswerForm, Failure, FailureKind

SCHEMA_VERSION = AnswerForm.FULL.schema_version
LEAN_SCHEMA_VERSION = AnswerForm.LEAN.schema_version
"""Of the full and of the lean answer. A changed `response_schema()` takes the next free number; a test pins them."""

NO_SPEECH = "NO_SPEECH"

EVENT_TAGS = (
    "laugh",
    "cry",
    "sigh",
    "gasp",
    "breath",
    "cough",
    "throat_clear",
    "lip_smack",
    "noise",
    "music",
)
MARKERS = ("UNK", "INAUDIBLE", "OVERLAP")
"""Not events: a word, a stretch that cannot be made out, voices on top of one another."""

EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful", "surprised", "disgusted", "other")
STYLES = (
    "conversational",
    "narration",
    "news",
    "formal",
    "energetic",
    "calm",
    "whisper",
    "shouting",
    "storytelling",
    "other",
)
PACES = ("slow", "moderate", "fast")


def _fold_language(value: str) -> str:
    language = find_language(value)
    return language.code if language else value


@dataclass(frozen=True, slots=True)
class _OneOf:
    """A closed vocabulary for a string field; a stranger becomes `other` where that is a member."""

    values: tuple[str, ...]
    fold: Callable[[str], str] = str

    def read(self, value: object) -> object:
        if not isinstance(value, str):
            return value  # pydantic refuses it
        folded = self.fold(value.strip().lower())
        if folded in self.values:
            return folded
        if "other" in self.values:
            return "other"
        raise ValueError(f"must be one of {', '.join(self.values)}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"enum": list(self.values)}


class _AnswerModel(BaseModel):
    """The wire form of `models.Answer`; the order of its fields is the order a model emits them in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    transcription: Annotated[str, Field(description="Verbatim words, or NO_SPEECH.")]
    tagged: Annotated[str, Field(description="The same words with event tags.")]
    detected_language: Annotated[
        str, _OneOf(DETECTABLE, _fold_language), Field(description="Main language spoken, or none.")
    ]
    speaker_emotion: Annotated[str, _OneOf(EMOTIONS), Field(description="Emotion in the voice.")]
    speaker_style: Annotated[str, _OneOf(STYLES), Field(description="Speaking style.")]
    speaker_pace: Annotated[str, _OneOf(PACES), Field(description="Speaking pace.")]
    speaker_accent: Annotated[str, Field(description="Accent or region in a few English words, or unknown.")]


FIELDS = tuple(_AnswerModel.model_fields)
_FIELDS = set(FIELDS)
_VOCABULARIES = tuple(
    (name, frozenset(one.values))
    for name, field in _AnswerModel.model_fields.items()
    for one in field.metadata
    if isinstance(one, _OneOf)
)


def schema_version(form: AnswerForm) -> str:
    """The version that goes with every answer of this form."""
    return form.schema_version


def form_of(version: str) -> AnswerForm | None:
    """The form of answers with this schema version; None for a version of another time."""
    return AnswerForm.from_schema(version)


def response_schema(form: AnswerForm = AnswerForm.FULL) -> dict[str, Any]:
    """The answer as a JSON schema in the subset Gemini understands: flat, closed, no `$ref`.

    Gemini emits fields in the order of `required`; it does not know `maxLength` or `pattern`.
    """
    if form is AnswerForm.LEAN:
        return lean.lean_schema()
    schema = _AnswerModel.model_json_schema()
    properties = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in schema["properties"].items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(FIELDS),
        "additionalProperties": False,
    }


_NO_SPEECH_SPELT = re.compile(r"\W*(?:(?i:no_speech)|NO[ -]SPEECH)\W*|\s*\[(?i:no[ -]speech)\]\s*")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # Postgres text and UTF-8 files refuse these


def read_answer(text: str) -> Answer | Failure:
    """Read a model's answer as `parse_answer` does, with its texts tidied: as it is judged and stored."""
    return _tidy_parsed(parse_answer(text))


def _tidy_parsed(parsed: Answer | Failure) -> Answer | Failure:
    answer = tidy_answer(parsed) if isinstance(parsed, Answer) else parsed
    if answer is parsed or isinstance(answer, Failure):
        return parsed
    if not answer.transcription.strip():
        return _nothing_said()
    return replace(answer, transcription=NO_SPEECH) if _says_nobody_speaks(answer.transcription) else answer


def read_fields(held: object) -> Answer | Failure:
    """Read the object of an answer, out of its text already, as `read_answer` does."""
    try:
        parsed = _answer_of(held)
    except ValueError as error:
        return _malformed_failure(_first_problem(error) if isinstance(error, ValidationError) else str(error))
    return _tidy_parsed(parsed)


def read_value(text: str) -> object:
    """The JSON that a reply holds, out of its wrapping; a `Failure` where it holds none, or two that differ."""
    body = text.strip(_AROUND)
    if not body:
        return _no_text()
    try:
        return _unwrap(_value(body))
    except (ValueError, RecursionError) as error:
        return _malformed_failure(f"not the JSON asked for: {error}")


def parse_answer(text: str) -> Answer | Failure:
    """Read a model's answer, in either form: their keys tell them apart.

    Gives a `Failure` of kind `empty` when there is no text or no transcription in it, `malformed` when it is
    not the object asked for. Unknown values of a vocabulary with `other` in it become `other`; spellings of
    NO_SPEECH become NO_SPEECH.
    """
    body = text.strip(_AROUND)
    if not body:
        return _no_text()
    try:
        return _answer_of(_value(body))
    except ValidationError as error:
        return _malformed_failure(_first_problem(error))
    except (ValueError, RecursionError) as error:
        return _malformed_failure(f"not the JSON asked for: {error}")


def _answer_of(held: object) -> Answer | Failure:
    """The answer that a value holds, in either form.

    Raises:
        ValueError: it is none.
    """
    if not _is_exact(held):
        held = lean.expand(_unwrap(held))
    fields = held if _is_exact(held) else dict(vars(_AnswerModel.model_validate(held)))
    transcription = fields["transcription"]
    texts = transcription + fields["tagged"] + fields["speaker_accent"]
    if not texts.isprintable() and _UNSTORABLE.search(texts):
        return _malformed_failure(
            "text with a NUL or half of a surrogate pair, which cannot be stored as UTF-8"
        )
    if not transcription.strip():
        return _nothing_said()
    if _says_nobody_speaks(transcription):
        fields["transcription"] = NO_SPEECH
    return Answer(**fields)


_AROUND = "\ufeff\u200b\x00 \t\r\n\v\f\u00a0\u2028\u2029"


def _value(body: str) -> object:
    """The JSON value of a body, alone or wrapped; the wrapping is looked at only where it does not read as it is."""
    try:
        return _DECODER.decode(body)
    except json.JSONDecodeError:
        opened = _OPENING.match(body)
        return _first_of(body[opened.end() :] if opened else body)


# A fence, perhaps after some words, with or without the name of a language and a line break; or that name alone.
_OPENING = re.compile(
    r"[^{}\[\]\"`~]{0,200}(?:(?:`{3,}+|~{3,}+)[ \t]*+\w{0,12}+\s*+)++|(?i:json)\s*(?=[{\[])"
)


def _first_of(text: str) -> object:
    """The first value, where what follows it is no second, different answer: a stray ending, or the same again.

    Raises:
        ValueError: there is no complete value at the start, or another one comes after it.
    """
    try:
        first, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError:
        if not text.startswith("["):
            raise
        text = text.lstrip("[" + _AROUND)  # a list that was never closed
        first, end = _DECODER.raw_decode(text)
    _must_end(text, end, _unwrap(first))
    return first


def _must_end(text: str, end: int, answer: object) -> None:
    """Refuse a second answer behind the first one, which ends at `end`, unless it is the same or its beginning."""
    tries = 0
    while opened := _OPENED.search(text, end):
        tries, start = tries + 1, opened.start()
        if tries > _MOST_TRIES:
            raise ValueError("too much after the first object")
        try:
            value, end = _DECODER.raw_decode(text, start)
        except ValueError:
            if _HOLDS_A_FIELD.search(text, start) and not _is_beginning(text[start:], of=text[:start]):
                raise ValueError("the beginning of another object after the first") from None
            end = start + 1
            continue
        other = _unwrap(value)
        if isinstance(other, dict | list) and other != answer:
            raise ValueError("two different objects")


_OPENED = re.compile(r"[{\[\"]")
_MOST_TRIES = 64
_HOLDS_A_FIELD = re.compile(  # inside a JSON string its quotes are escaped
    rf'"(?:(?:{"|".join(FIELDS)})\\*"|[{"".join(lean.KEYS)}]\\*"\s*:)'
)


def _is_beginning(fragment: str, *, of: str) -> bool:
    """True if a text that was cut says what came before it once more, white space and wrapping aside."""
    return "".join(of.split()).lstrip('"[\\').startswith("".join(fragment.split()).lstrip('"[\\'))


def _unwrap(value: object) -> object:
    """The content of a list of one, of the same again and again, or of a JSON string around the answer."""
    for _ in range(_MOST_WRAPPINGS):
        if isinstance(value, list) and value and all(other == value[0] for other in value):
            value = value[0]
        elif isinstance(value, str) and value.lstrip(_AROUND)[:1] in {"{", "[", '"', "`"}:
            value = _value(value.strip(_AROUND))
        else:
            break
    return value


_MOST_WRAPPINGS = 4


_SPACES = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)  # no-break, thin, wide, ...
_UNSEEN = (0xAD, 0x61C, 0x180E, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2065))
_UNSEEN_TOO = (*range(0x2066, 0x2070), 0xFEFF, *range(0xE0000, 0xE0080))
_TIDY: dict[int, str | None] = (
    dict.fromkeys(_SPACES, " ") | dict.fromkeys((*_UNSEEN, *_UNSEEN_TOO)) | {0x2028: "\n", 0x2029: "\n"}
)


def tidy_text(text: str) -> str:
    """A text as it is stored: NFC, one kind of space, and nothing that is neither seen nor heard.

    Byte order marks, soft hyphens, word joiners and marks of direction go. ZWJ and ZWNJ stay, since they are part of
    how words are written, and so does the zero-width space, which may stand for a space or for nothing. Idempotent.
    """
    if text.isascii():
        return text
    if not text.isprintable():
        text = text.translate(_TIDY)
    return compose_unicode(text)


def compose_unicode(text: str) -> str:
    """A text in NFC, but for words of thousands of letters: Unicode takes quadratic time over heaps of marks."""
    if len(text) <= _MOST_AT_ONCE:
        return unicodedata.normalize("NFC", text)
    pieces = re.split(r"(\s+)", text)
    return "".join([one if len(one) > _MOST_AT_ONCE else unicodedata.normalize("NFC", one) for one in pieces])


_MOST_AT_ONCE = 2000  # characters: 15 ms at worst


def tidy_answer(answer: Answer) -> Answer:
    """An answer as it is stored, such as one that was stored before texts were tidied; the same object if it is."""
    said = tidy_text(answer.transcription)
    tagged = said if answer.tagged == answer.transcription else tidy_text(answer.tagged)
    accent = tidy_text(answer.speaker_accent)
    if (said, tagged, accent) == (answer.transcription, answer.tagged, answer.speaker_accent):
        return answer
    return replace(answer, transcription=said, tagged=tagged, speaker_accent=accent)


def _is_exact(held: object) -> TypeGuard[dict[str, str]]:
    """True if it needs neither folding nor a word about what is wrong: nearly all, at a sixth of pydantic's time."""
    return (
        isinstance(held, dict)
        and held.keys() == _FIELDS
        and all(type(value) is str for value in held.values())
        and all(held[name] in values for name, values in _VOCABULARIES)
    )


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields


# Raw control characters inside strings pass: validation names them.
_READING: dict[str, Any] = {"strict": False, "object_pairs_hook": _refuse_repeated_keys}
_DECODER = json.JSONDecoder(**_READING)  # `json.loads` makes one for each text


def _no_text() -> Failure:
    return Failure(FailureKind.EMPTY, "the model answered with no text")


def _nothing_said() -> Failure:
    return Failure(FailureKind.EMPTY, "the transcription is empty")


def _says_nobody_speaks(transcription: str) -> bool:
    return _NO_SPEECH_SPELT.fullmatch(transcription) is not None


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the answer"
    return f"{where[:100]}: {first['msg']}"


def _malformed_failure(problem: str) -> Failure:
    return Failure(FailureKind.MALFORMED, f"unusable answer: {problem}")
