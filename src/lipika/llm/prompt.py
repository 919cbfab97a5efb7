"""Prompts: one system prompt per language hint, one line per clip, and the longest answer that is allowed.

The prose lives in `prompts/v<PROMPT_VERSION>/`. A system prompt is byte-identical for every clip of a
language, so that a provider may cache it; what differs by clip comes after it, and the audio comes last.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from string import Template

from lipika.languages import LANGUAGES, Language, find_language
from lipika.llm.own_prompt import NOTHING_OWN, OwnPrompt
from lipika.models import AnswerForm

PROMPT_VERSION = "1"
"""Bump with any change to the prose (in a new folder); a test pins the pair."""

THINKING_HEADROOM_TOKENS = 2048
"""`maxOutputTokens` counts thoughts too; Google's users saw 9 % of runs cut at a cap of 2,000."""

_FIXED_FIELDS_TOKENS = 192  # JSON keys, enums and an accent, with room to spare
_TOKENS_PER_CODE_POINT = 1.0  # an upper bound: tokenizers give Indic scripts 0.3 to 0.8

_LONGEST_READING = 600  # code points: 20 s at the fastest

_SCRIPT_NAMES = {
    "as": "Assamese letters with ৰ and ৱ, not Bengali র",
    "bn": "Bengali letters",
    "or": "Odia letters",
    "ur": "Perso-Arabic letters with ک and ی",
}


def system_prompt(
    language: str | None, form: AnswerForm = AnswerForm.FULL, own: OwnPrompt = NOTHING_OWN
) -> str:
    """The system prompt for a language hint (code or name) and a form of answer; any hint not in the registry reads
    `unknown`. What is a person's own comes last; what tells the fields of an answer always stays.
    """
    ours, text = _system_prompt(find_language(language), form), own.text(language)
    if not text:
        return ours
    kept = _without_rules(ours) if own.replaces(language) else ours
    return f"{kept}\n\nFor these recordings:\n{text}"


def _without_rules(text: str) -> str:
    """The prompt without the rules on what is written, whose place a person's own take: markers, NO_SPEECH and the
    rest of the form stay.
    """
    return "\n".join(line for line in text.splitlines() if not line.startswith(_RULES))


def clip_prompt(duration_ms: int, *, varied: bool = False, readings: tuple[str, str] | None = None) -> str:
    """The text between system prompt and audio. `varied` is for the one retry after an unusable answer.

    `readings` are what two voters wrote who disagree; only a canary asks so. They are quoted, on one line each, in an
    order of chance that is the same whoever said which.
    """
    text = _template("clip").substitute(seconds=f"{duration_ms / 1000:.1f}")
    if readings is not None:
        first, second = sorted(map(_reading, readings))
        if hashlib.blake2b(f"{first}\n{second}".encode("utf-8", "replace"), digest_size=1).digest()[0] & 1:
            first, second = second, first
        text = f"{text} {_template('readings').substitute(first=first, second=second)}"
    return f"{text} {_template('vary').substitute()}" if varied else text


_RULES = ("- Keep ", "- Write the language", "- Code-mixing", "- Numbers ")


def prompt_version(
    form: AnswerForm = AnswerForm.FULL,
    *,
    readings: bool = False,
    own: OwnPrompt = NOTHING_OWN,
    language: str | None = None,
) -> str:
    """The version that answers to a prompt carry: another form of answer, readings to choose from, or a text of one's
    own for the `language` are other ways of asking.
    """
    parts = ["+lean" if form is AnswerForm.LEAN else "", "+readings" if readings else ""]
    return PROMPT_VERSION + "".join(parts) + own.version(language)


def prompt_versions(form: AnswerForm, own: OwnPrompt) -> list[str]:
    """The versions over all languages."""
    return sorted(prompt_version(form) + version for version in own.versions())


def fill_in(name: str, **words: object) -> str:
    """The prose of that name with its blanks filled in."""
    return _template(name).substitute(words)


def _reading(text: str) -> str:
    """A transcript in quotes, on one line, no longer than any honest one: nothing in it can end the quotes."""
    plain = " ".join(text.split())
    cut = plain if len(plain) <= _LONGEST_READING else plain[: _LONGEST_READING - 1] + "…"
    return json.dumps(cut, ensure_ascii=False)


def max_output_tokens(duration_ms: int, language: str | None) -> int:
    """A cap that no honest answer reaches: both texts at the language's fastest rate, and room to think.

    It bounds what a loop can cost, since a schema cannot limit the length of a string.
    """
    hint = find_language(language)
    fastest = max(entry.chars_per_second[2] for entry in ([hint] if hint else LANGUAGES.values()))
    text_tokens = 2 * fastest * _TOKENS_PER_CODE_POINT * duration_ms / 1000
    return int(text_tokens) + _FIXED_FIELDS_TOKENS + THINKING_HEADROOM_TOKENS


_PROSE = {AnswerForm.FULL: "system", AnswerForm.LEAN: "lean"}


@cache
def _system_prompt(hint: Language | None, form: AnswerForm) -> str:
    return _template(_PROSE[form]).substitute(
        hint=f"{hint.name} ({hint.code})" if hint else "unknown",
        script=f" ({hint.name}: {_script_name(hint)})" if hint else "",
    )


def _script_name(language: Language) -> str:
    return _SCRIPT_NAMES.get(language.code, language.script)


@cache
def _template(name: str) -> Template:
    folder = resources.files("lipika.llm") / "prompts" / f"v{PROMPT_VERSION}"
    return Template((folder / f"{name}.txt").read_text(encoding="utf-8").strip())
