"""The text of each candidate as it will be exported, and the language it is counted under."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from lipika.dataset.views import View, Viewed, ViewKind
from lipika.dataset.vocabulary import Misfits, Vocabulary
from lipika.languages import LANGUAGES

UNKNOWN = "und"
"""The language of a clip of which neither model nor hint names one (ISO 639-2: undetermined)."""


@dataclass(frozen=True, slots=True)
class TextRules:
    """How texts are made. `by_hint`: a clip belongs to the language its list named, not to that which was heard."""

    view: View
    vocabulary: Vocabulary | None = None
    languages: tuple[str, ...] = ()  # that are wanted; of none: all
    by_hint: bool = False
    any_language: bool = False  # clips without a language are counted under `UNKNOWN`


TEXT_FIELDS = (
    pa.field("language", pa.string()),
    pa.field("text", pa.string()),
    pa.field("text_drop", pa.string()),
    pa.field("text_changes", pa.string()),
)


def add_texts(table: pa.Table, rules: TextRules) -> tuple[pa.Table, Misfits]:
    """The candidates with four more columns: language, text, why it cannot be used, and what the view changed."""
    detected, hinted = (table.column(name).to_pylist() for name in ("detected_language", "language_hint"))
    languages = [_language(*pair, rules) for pair in zip(detected, hinted, strict=True)]
    misfits = Misfits()
    made = list(_texts(table, languages, rules, misfits))
    columns = (
        languages,
        [viewed.text for viewed in made],
        [str(viewed.dropped) for viewed in made],
        [" ".join(viewed.changes) for viewed in made],
    )
    for field, values in zip(TEXT_FIELDS, columns, strict=True):
        table = table.append_column(field, pa.array(values, pa.string()))
    return table, misfits


def _texts(table: pa.Table, languages: list[str], rules: TextRules, misfits: Misfits) -> Iterator[Viewed]:
    status, said, tagged = (table.column(name).to_pylist() for name in ("status", "transcription", "tagged"))
    cheap = rules.view.kind in (ViewKind.VERBATIM, ViewKind.TAGGED)
    for became, text, with_tags, language in zip(status, said, tagged, languages, strict=True):
        unwanted = bool(rules.languages) and language not in rules.languages
        if became != "transcribed" or not language or (unwanted and not cheap):
            yield Viewed("", "empty_text")  # it is dropped before that is looked at
            continue
        viewed = rules.view.apply(text or "", with_tags or "", language)
        if rules.vocabulary is not None and not viewed.dropped and not unwanted:
            fitted = rules.vocabulary.fit(viewed.text, language)
            misfits.add(fitted)
            viewed = Viewed(fitted.text, "vocabulary" if fitted.unfit else "", viewed.changes)
        yield viewed


def _language(detected: str | None, hint: str | None, rules: TextRules) -> str:
    first, second = (hint, detected) if rules.by_hint else (detected, hint if rules.any_language else None)
    for code in (first, second):
        if code in LANGUAGES:
            return code
    return UNKNOWN if rules.any_language else ""
