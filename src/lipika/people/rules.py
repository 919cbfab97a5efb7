"""Rules of people's edits: what a typed text is, which edit stands, and what it decides of a clip. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from lipika.errors import UsageError
from lipika.languages import LANGUAGES, find_language
from lipika.llm.transcript import EVENT_TAGS, NO_SPEECH, tidy_text
from lipika.models import Answer, Clip, ClipStatus, Consensus, Finding, Tier, Verdict
from lipika.validation import Bands, add_findings, validate
from lipika.validation.catalogue import RULES, ScorePart
from lipika.validation.person import condemn, decide
from lipika.validation.text import canonical_tag, normalise, without_tags

LONGEST_TEXT = 8_000  # characters
LONGEST_NOTE = 2_000
PERSON = Consensus(Tier.GOLD, 0.0, ("person", "person"), 1, "person")
"""The consensus on a clip whose text is a person's: nobody else is asked."""

_BRACKET = re.compile(r"\[([^\[\]\n]{0,40})\]")
_NOT_AS_SAID = frozenset({"unusable", "repetition_agreed"})


class EditKind(StrEnum):
    """The kinds of things that people say of a clip."""

    TEXT = "text"  # this is what is said
    ACCEPTED = "accepted"  # it is as it stands
    UNUSABLE = "unusable"  # nobody should use the clip
    UNDONE = "undone"  # an earlier one no longer stands
    REDONE = "redone"


@dataclass(frozen=True, slots=True)
class Edit:
    """A person's word on a clip. `text` has its event tags in it; empty `language`: as it was."""

    kind: EditKind
    text: str = ""
    language: str = ""
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastEdit:
    """One row of a clip's history. Only `text`, `accepted` and `unusable` say what stands."""

    id: int
    video_id: str
    segment_file: str
    audio_digest: str
    kind: str
    of_edit: int | None
    transcription: str | None
    tagged: str | None
    language: str | None
    reason: str | None
    note: str | None
    model_text: str | None
    made_against: str
    refused: bool
    edited_by: str
    edited_at: datetime


@dataclass(frozen=True, slots=True)
class StandingText:
    """The state of a clip before an edit: `answer` is None where it failed. `findings` are those of its verdict."""

    answer: Answer | None
    clip: Clip
    language_hint: str
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Word:
    """The decision of an edit. Without an answer the clip stays failed."""

    status: ClipStatus
    answer: Answer | None
    verdict: Verdict | None
    consensus: Consensus | None


def edit_text(text: str, *, language: str = "", note: str = "") -> Edit:
    """A correction as it was typed, event tags among the words.

    Raises:
        UsageError: there is nothing in it, too much, or the language is none of ours.
    """
    typed = " ".join(tidy_text(text).split())
    if not typed:
        raise UsageError(
            f"there is no text: write {NO_SPEECH} where nobody speaks, or call the clip unusable with a reason"
        )
    if len(typed) > LONGEST_TEXT:
        raise UsageError(f"a text of {len(typed):,} characters is longer than any clip ({LONGEST_TEXT:,})")
    return Edit(EditKind.TEXT, _BRACKET.sub(_spell_tag, typed), _code(language), note=_shorten(note))


def accept(note: str = "") -> Edit:
    """That a clip is right as it stands."""
    return Edit(EditKind.ACCEPTED, note=_shorten(note))


def call_unusable(reason: str, note: str = "") -> Edit:
    """That nobody should use a clip. Raises UsageError without a reason."""
    told = _shorten(reason)
    if not told:
        raise UsageError("say why the clip is unusable, such as 'two people at once'")
    return Edit(EditKind.UNUSABLE, reason=told, note=_shorten(note))


def shown_text(transcription: str | None, tagged: str | None) -> str:
    """The text that a person is shown and edits: with its tags, where these are in the same words."""
    said, marked = transcription or "", tagged or ""
    same = marked and normalise(without_tags(marked)) == normalise(without_tags(said))
    return marked if same else said


def words_of(text: str) -> str:
    """A text without its event tags; markers are part of the words."""
    bare = _BRACKET.sub(lambda place: " " if place[1] in EVENT_TAGS else place[0], text)
    return " ".join(bare.split())


def decide_word(edit: Edit, standing: StandingText, bands: Bands) -> Word:
    """The decision of an edit on a clip.

    Raises:
        UsageError: there is nothing to accept.
    """
    former = standing.answer
    if edit.kind is EditKind.UNUSABLE:
        return _condemn_text(edit.reason, standing, bands)
    if edit.kind is EditKind.TEXT:
        answer = _answer_of(edit, former, standing.language_hint)
        same_text = former is not None and answer.transcription == former.transcription
    elif former is None:
        raise UsageError("the clip has no text that could be accepted: write one")
    else:
        answer, same_text = former, True
    verdict = decide(_judge(answer, standing, bands, same_text=same_text))
    status = ClipStatus.NO_SPEECH if answer.no_speech else ClipStatus.TRANSCRIBED
    return Word(status, answer, verdict, PERSON)


def _condemn_text(reason: str, standing: StandingText, bands: Bands) -> Word:
    answer = standing.answer
    if answer is None:
        return Word(ClipStatus.FAILED, None, None, None)
    status = ClipStatus.NO_SPEECH if answer.no_speech else ClipStatus.TRANSCRIBED
    return Word(status, answer, condemn(_judge(answer, standing, bands, same_text=True), reason), None)


def _judge(answer: Answer, standing: StandingText, bands: Bands, *, same_text: bool) -> Verdict:
    """As a model's answer is judged. What was found later stays; a recogniser's word on another text does not."""
    verdict = validate(answer, standing.clip, standing.language_hint, bands=bands)
    kept = [
        found
        for found in standing.findings
        if (rule := RULES.get(found.code)) is not None
        and rule.later
        and found.code not in _NOT_AS_SAID
        and (same_text or rule.part is not ScorePart.ALIGNMENT)
    ]
    return add_findings(verdict, kept)


def _answer_of(edit: Edit, former: Answer | None, hint: str) -> Answer:
    said = words_of(edit.text)
    known = find_language(hint)
    base = former or Answer("", "", known.code if known else "other", "", "", "", "")
    if said == NO_SPEECH:
        return replace(base, transcription=said, tagged=edit.text, detected_language="none")
    heard = edit.language or base.detected_language
    if heard in ("", "none"):
        heard = known.code if known else "other"
    return replace(base, transcription=said, tagged=edit.text, detected_language=heard)


def _spell_tag(place: re.Match[str]) -> str:
    name = canonical_tag(place[1])
    return f"[{name}]" if name else place[0]


def _code(language: str) -> str:
    if not language or language == "other":
        return language
    known = find_language(language)
    if known is None:
        raise UsageError(f"language {language!r}: not one of {', '.join(LANGUAGES)}, other")
    return known.code


def _shorten(text: str) -> str:
    return " ".join(tidy_text(text).split())[:LONGEST_NOTE]


# ----------------------------------------------------------------------------- which edit stands


_SAYS = (EditKind.TEXT, EditKind.ACCEPTED, EditKind.UNUSABLE)


def find_standing(history: Iterable[PastEdit]) -> PastEdit | None:
    """The last edit that was neither refused nor undone; None: nobody's word stands."""
    gone: set[int] = set()
    said: list[PastEdit] = []
    for past in history:
        if past.refused:
            continue
        if past.kind == EditKind.UNDONE and past.of_edit is not None:
            gone.add(past.of_edit)
        elif past.kind == EditKind.REDONE and past.of_edit is not None:
            gone.discard(past.of_edit)
        else:
            said.append(past)
    return next((past for past in reversed(said) if past.id not in gone), None)


def find_undone(history: Iterable[PastEdit]) -> PastEdit | None:
    """The edit that a redo brings back: the last one undone, unless somebody has said something since."""
    said: dict[int, PastEdit] = {}
    undone: list[int] = []
    for past in history:
        if past.refused:
            continue
        if past.kind in _SAYS:
            said[past.id] = past
            undone.clear()
        elif past.kind == EditKind.UNDONE and past.of_edit is not None:
            undone.append(past.of_edit)
        elif past.of_edit in undone:
            undone.remove(past.of_edit)
    return said.get(undone[-1]) if undone else None


def repeat_edit(past: PastEdit) -> Edit:
    """An edit of the history as it was made."""
    text = shown_text(past.transcription, past.tagged)
    return Edit(EditKind(past.kind), text, past.language or "", past.reason or "", past.note or "")


def answer_then(past: PastEdit, now: Answer | None) -> Answer | None:
    """The text that stood from an edit on; who spoke and how is as it is `now`. None: none did."""
    if past.transcription is None:
        return None
    base = now or Answer("", "", "", "", "", "", "")
    return replace(
        base,
        transcription=past.transcription,
        tagged=past.tagged or "",
        detected_language=past.language or base.detected_language,
    )
