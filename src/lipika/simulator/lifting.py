"""Long base64 strings taken out of JSON text before it is parsed: parsing then costs the prompt, not the audio."""

from __future__ import annotations

from dataclasses import dataclass

CACHEABLE_BYTES = 32 * 1024
"""What is left of a request without its audio is remembered up to this size; more is parsed anew each time."""

_KEY = b'"data"'  # both wire formats call it that
_MARK = "#"  # not in a base64 alphabet, so no client's data looks like a placeholder that decodes


@dataclass(frozen=True, slots=True)
class Lifted:
    """JSON text in which every long `"data"` string is a placeholder, and the strings."""

    json: bytes
    strings: tuple[bytes, ...]

    def original(self, value: str) -> bytes:
        """The value of a `"data"` string: the string lifted out, or the value itself."""
        if value.startswith(_MARK) and value[1:].isdecimal() and int(value[1:]) < len(self.strings):
            return self.strings[int(value[1:])]
        return value.encode()


def lift(body: bytes, *, least_bytes: int = 4096) -> Lifted:
    """Lift strings of that length or more, if they hold no escapes.

    The key cannot be mistaken: inside a JSON string its quotes would be escaped, and as a value no colon
    follows it.
    """
    pieces: list[bytes] = []
    strings: list[bytes] = []
    kept = at = 0
    while (at := body.find(_KEY, at)) >= 0:
        at += len(_KEY)
        colon, _, _ = body[at : at + 16].partition(b'"')
        if colon.strip() != b":":
            continue
        start = at + len(colon) + 1
        end = body.find(b'"', start)
        if end - start < least_bytes or body.find(b"\\", start, end) >= 0:
            continue
        pieces += (body[kept:start], f"{_MARK}{len(strings)}".encode())
        strings.append(body[start:end])
        kept = at = end
    return Lifted(b"".join((*pieces, body[kept:])), tuple(strings))
