"""English words as sounds, by rules of spelling and a list of words that break them. Pure, but for that list.

A sound is one letter. Consonants: `k g c j T D t d n p f b m y r l v s S h z` and `N` before k and g; `T` and `D` are
those of *tea* and *day*, `t` and `d` of *thin* and *then*, `c` is that of *chair*, `S` of *she*. Vowels: `a` as in
*but*, `A` (car), `x` (bank), `i`, `I`, `u`, `U`, `e` (pen), `E` (cake), `q` (hot), `O` (go), `Y` (my), `W` (now), as
English is spoken in India. A hyphen stands between what is written as if apart. Where spelling does not tell (`live`,
`read`), one of the readings is taken.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources

VOWELS = "aAxiIuUeEqOYW"

_CONSONANT = "bcdfgjklmnpqrstvwxz"
_ENDS = r"(?=(?:s|d|r|rs)?$)"  # behind a silent e, plural, past or -er

_RULES = tuple(
    (re.compile(spelling), sounds)
    for spelling, sounds in (
        # endings
        (r"(?<=\w)[tc]ion|(?<=\w)ssion|(?<=[lnr])sion", "San"),
        (r"(?<=[aeiou])sion", "zan"),
        (r"(?<=\w)cian", "San"),
        (r"(?<=\w\w)[ct]ial", "Sal"),
        (r"(?<=\w)[ct]ious$", "Sas"),
        (r"(?<=\w)ous(?=$|ly)", "as"),
        (r"(?<=\w)ture", "car"),
        (r"(?<=\w)tual", "cuval"),
        (r"(?<=[aei])sure$", "zar"),
        (r"(?<=\w\w)age(?=s?$)", "ej"),
        (r"(?<=\w\w\w)ice(?=s?$)", "is"),
        (r"(?<=\w\w)ive(?=s?$)", "iv"),
        (r"e?ment(?=s?$)", "menT"),
        (r"(?<=\w)ism(?=s?$)", "izam"),
        (r"(?<=\w)ically$", "iklI"),
        (r"(?<=[bcdfgkpstz])le(?=s?$)", "al"),
        (r"(?<=\w\w[bcdfgkmnpstvz])[aeo]l(?=s?$)", "al"),
        (r"(?<=[td])ed$", "eD"),
        (r"(?<=[ckpsfx])ed$|(?<=sh)ed$", "T"),
        (r"(?<=\w\w)ed$", "D"),
        (r"(?<=[sxz])es$|(?<=[cs]h)es$", "es"),
        (r"(?<=[bcdfghklmnpstvz])(?:er|or)(?=s?$)", "ar"),
        (r"(?<=\w\w[bcdfgklmnpstvz])ar(?=s?$)", "ar"),
        (r"(?<=[aeiouy][bcdfghklmnprstvz])(?:y|ey|ie)(?=s?$)", "I"),
        (r"(?<=[aeiouy]\w\w)(?:y|ey|ie)(?=s?$)", "I"),
        (r"(?<=\w\w)on(?=s?$)", "an"),
        (r"(?<=\w)ying", "aying"),
        (r"ing(?=s?$)", "iNg"),
        # groups of letters
        (r"^kn|^gn", "n"),
        (r"^wr", "r"),
        (r"^ps", "s"),
        (r"eigh", "E"),
        (r"igh", "Y"),
        (r"augh|ough(?=t)", "q"),
        (r"tch", "c"),
        (r"sch", "sk"),
        (r"ch(?=[lr])", "k"),
        (r"ch", "c"),
        (r"sh", "S"),
        (r"th", "t"),
        (r"ph", "f"),
        (r"wh", "v"),
        (r"gh", "g"),
        (r"dge", "j"),
        (r"ck", "k"),
        (r"sc(?=[eiy])", "s"),
        (r"cc(?=[eiy])", "ks"),
        (r"c(?=[eiy])", "s"),
        (r"c+", "k"),
        (r"ng(?=[aeiou]|l|$)", "Ng"),
        (r"n(?=[kgqx]|c[^eiyh])", "N"),
        (r"gu(?=[ei])", "g"),
        (r"g(?=e(?!t)|y)", "j"),
        (r"gi(?=[aou])", "j"),
        (r"qu", "kv"),
        (r"^x", "z"),
        (r"x", "ks"),
        (r"(?<=m)b$|(?<=m)n$", ""),
        (r"(?<=[eiou])s(?=[aeiouy])|(?<=ea)s(?=[aiouy])", "z"),
        (r"([bdfgklmnprstvz])\1", "1"),
        # vowels before r
        (r"air|are$", "eyar"),
        (r"ear$|eer|ere$", "iyar"),
        (r"ire(?=s?$)|ier$", "Ayar"),
        (r"ure$", "yUr"),
        (r"our(?=s?$)|oor|oar|ore", "Or"),
        (rf"ar(?=[{_CONSONANT}]|$)", "Ar"),
        (rf"or(?=[{_CONSONANT}]|$)", "qr"),
        (rf"(?:er|ir|ur|ear)(?=[{_CONSONANT}]|$)", "ar"),
        # pairs of vowels
        (r"eau", "O"),
        (r"ia$", "iyA"),
        (r"io$|eo$", "iyO"),
        (r"ia(?=\w)", "iya"),
        (r"iou|eou", "iya"),
        (r"ook", "uk"),
        (r"ee|ea|ie(?=\w)", "I"),
        (r"oo", "U"),
        (r"oa|oe$", "O"),
        (r"ow(?=[ndlr]|er)|ou", "W"),
        (r"ow", "O"),
        (r"ai|ay|ei", "E"),
        (r"ey", "I"),
        (r"au|aw", "q"),
        (r"oy|oi", "qy"),
        (r"(?<=[rlj])(?:ew|ue$)|ui", "U"),
        (r"ew|ue$|eu", "yU"),
        # a vowel that a later one makes long
        (rf"a(?=(?:[bcdfgklmnpstvz]|st|ng)e{_ENDS})", "E"),
        (r"a(?=(?:tion|sion|ci|ti[aoe]))", "E"),
        (rf"[iy](?=[bcdfgklmnpstvz]e{_ENDS})", "Y"),
        (r"ign(?=s?$|ed$|er)", "Yn"),
        (r"i(?=(?:nd|ld)s?$)", "Y"),
        (r"a(?=ck)", "x"),
        (rf"(?<=[rlj])u(?=[bcdfgklmnpstvz]e{_ENDS})", "U"),
        (r"o(?=ld|ll$|st$)", "O"),
        (r"a(?=l[lkt])", "q"),
        (r"(?<=^w)a(?=[nst])", "q"),
        (r"^y(?=[aeiou])|(?<=[aeiou])y(?=[aeiou])", "y"),
        (r"^co(?=m[pbm]|n)", "ka"),
        (rf"o(?=[{_CONSONANT}][aeiouy])|o$", "O"),
        (rf"(?<=[mcpfbh])u(?=[{_CONSONANT}][aeiouy])|^u(?=[{_CONSONANT}][aeiou])", "yU"),
        (rf"u(?=[{_CONSONANT}][aeiouy])|u$", "U"),
        (r"^a(?=(?:[cp]{2}|tt|ll|ss|rr)\w\w)", "a"),
        (r"(?<=\w)a$", "A"),
        (r"^y$|(?<=^\w)y$|(?<=^\w\w)y$", "Y"),
        (r"i$|y$", "I"),
        (r"(?<=^\w)e$", "I"),
        (rf"(?<=[aeiouy][{_CONSONANT}])e{_ENDS}|(?<=\w\w)e$|e(?=(?:ly|ful|less|ness)$)", ""),
        (r"(?<=[aeiou])h", ""),
    )
)
_PLAIN = {"u": "a", "y": "i", "w": "v", "o": "q", "t": "T", "d": "D", "q": "k"}
_DEFAULT_A = ("x", "a")  # the first vowel of a word, and later ones

_LETTERS = {
    "a": "E", "b": "bI", "c": "sI", "d": "DI", "e": "I", "f": "ef", "g": "jI", "h": "Ec", "i": "AI", "j": "jE",
    "k": "kE", "l": "el", "m": "em", "n": "en", "o": "O", "p": "pI", "q": "kyU", "r": "Ar", "s": "es", "t": "TI",
    "u": "yU", "v": "vI", "w": "DablyU", "x": "eks", "y": "vAI", "z": "zeD",
}  # fmt: skip
"""Names of letters."""

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]+")
_SPELT_AT_MOST = 5


def pronounce(word: str) -> str:
    """The sounds of an English word of the letters A-Z; an apostrophe in it is passed over.

    Spelt by the names of its letters: two capitals (`IT`), up to five that are not on the list of words (`ATM`, but
    `NASA`), and a word without a vowel (`sms`). Parts that capitals mark are read apart (`YouTube`, `iPhone`).
    """
    word = word.replace("'", "")
    known = _known_words().get(word.lower())
    if known and len(word) > 1 and not _is_two_capitals(word):
        return known
    return "-".join(_pronounce_part(part) for part in _PARTS.findall(word))


def _is_two_capitals(word: str) -> bool:
    return len(word) == 2 and word.isupper() and word != "OK"


def _pronounce_part(part: str) -> str:
    small = part.lower()
    is_spelt = part.isupper() and len(part) <= _SPELT_AT_MOST and part != "OK"
    if not is_spelt and small in _known_words():
        return _known_words()[small]
    if is_spelt or not re.search("[aeiouy]", small):
        return "-".join(_LETTERS[letter] for letter in small)
    return pronounce_by_rules(small)


@cache
def _known_words() -> dict[str, str]:
    """Words that break the rules, or are frequent, with their sounds."""
    file = resources.files("lipika.dataset") / "english.txt"
    pairs = (line.split(" ", 1) for line in file.read_text(encoding="utf-8").splitlines())
    return dict(pairs)


@lru_cache(16_384)
def pronounce_by_rules(word: str) -> str:
    """The sounds of one word in small letters, as its spelling alone has them."""
    sounds, at = "", 0
    while at < len(word):
        for spelling, heard in _RULES:
            match = spelling.match(word, at)
            if match and match.end() > at:
                sounds += _PLAIN.get(match[1], match[1]) if heard == "1" else heard
                at = match.end()
                break
        else:
            letter, at = word[at], at + 1
            if letter == "a":
                sounds += _DEFAULT_A[any(vowel in sounds for vowel in VOWELS)]
            else:
                sounds += _PLAIN.get(letter, letter)
    return re.sub(rf"([^{VOWELS}])\1+", r"\1", sounds)
