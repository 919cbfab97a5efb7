"""Text as bytes, one a character, where a page holds all of it: what is counted and folded goes by table then.

Python makes an object of every character that it looks at, and for Indic text that costs more than the look. A page
is printable ASCII, the letters of one script and some punctuation. Text with anything else has no page and goes the
long way, which must come to the same.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

# NUL is first because only then `codecs` looks characters up without a dictionary.
_SHARED = "\0" + "".join(map(chr, range(0x20, 0x7F))) + "‘’“”…–—\u200c\u200d।॥"
_INDIC_BLOCKS = range(0x0900, 0x0D80, 0x80)  # of 128 characters, Devanagari to Malayalam
_URDU = (
    "،؛؟ءآأؤإئابةتثجحخدذرزسشصضطظعغـفقكلمنهوىيٹپچڈڑژکگںھۀہۂۃیےۓ۔"
    "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0653\u0654\u0655\u0670٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹"
)
_TELLING = re.compile(f"[^{re.escape(_SHARED)}]")


@dataclass(frozen=True, slots=True, eq=False)
class CodePage:
    """256 characters at most; the code of a character is its place."""

    characters: str

    def table(self, codes: dict[str, int]) -> bytes:
        """For `bytes.translate`: each character's code to the number it has in `codes`, others to 0."""
        return bytes(codes.get(character, 0) for character in self.characters.ljust(256))

    def decode(self, data: bytes) -> str:
        return codecs.charmap_decode(data, "strict", self.characters)[0]


_PAGES = tuple(
    CodePage("".join(dict.fromkeys(_SHARED + letters)))
    for letters in (*("".join(map(chr, range(first, first + 0x80))) for first in _INDIC_BLOCKS), _URDU)
)
_PAGE_OF = {character: page for page in _PAGES for character in page.characters[len(_SHARED) :]}
_ENCODINGS = {page: codecs.charmap_build(page.characters.ljust(256, "\ufffe")) for page in _PAGES}


def encode(text: str) -> tuple[CodePage, bytes] | None:
    """The text on the page of its first telling character; None if it does not fit."""
    telling = _TELLING.search(text)
    page = _PAGE_OF.get(telling[0]) if telling else _PAGES[0]
    if page is None:
        return None
    try:
        return page, codecs.charmap_encode(text, "strict", _ENCODINGS[page])[0]
    except UnicodeEncodeError:
        return None
