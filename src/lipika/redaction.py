"""Secrets out of whatever is shown or kept: texts of servers, messages, tracebacks, log lines."""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus

_HIDDEN = "***"
_SECRETS = re.compile(
    r"(?P<head>AIza|hf_|sk-or-(?:v1-)?|sk-(?=\w{12})|Bearer\s+|(?:key|token|password|secret)="
    r"|(?:x-goog-api-key|api[_-]key|apikey|access[_-]token)[\"']?\s*[:=]\s*[\"']?)[A-Za-z0-9_\-.~+/]{6,}",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+]{0,20}://[^/\s:@]{0,200}:)[^@\s]+@")

_known: list[str] = []  # longest first: one secret may be part of another
_SHORTEST = 6
"""Characters: a shorter secret would blot out ordinary words."""


def hide(*secrets: str) -> None:
    """From now on `redact` knows these secrets of this process by heart, whatever they look like."""
    spelt = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    new = {form for form in spelt if len(form) >= _SHORTEST} - set(_known)
    if new:
        _known[:] = sorted([*_known, *new], key=len, reverse=True)


def redact(text: str) -> str:
    """`text` without the secrets of this process, and without anything that looks like a key or a URL's password."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, _HIDDEN)
    text = _SECRETS.sub(rf"\g<head>{_HIDDEN}", text)
    return _URL_PASSWORD.sub(rf"\g<head>{_HIDDEN}@", text) if "://" in text else text


_LONGEST = 512
"""Characters of the longest secret that is looked for where a text is cut."""


def redact_start(text: str, characters: int) -> str:
    """At most so many characters of a text, without secrets, none of which is half there at its end."""
    if len(text) <= characters:
        return redact(text)
    return redact(text[: characters + _LONGEST])[:characters]
