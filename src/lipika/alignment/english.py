"""English words as they sound, in the coarse Latin letters that romanised words of other scripts have. Pure.

Rules of spelling, tried in order at each place of a word; no dictionary. Vowels are as Indian languages write them
(`time` taim, `office` ofis, `computer` kampyutar), as far as spelling tells.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")
_DOUBLED = re.compile(r"(.)\1+")

_RULES = tuple(
    (re.compile(spelling), sound)
    for spelling, sound in (
        # endings
        (r"(?<=\w\w)tion(?=s?$)", "shan"),
        (r"(?<=[aeiou])sion(?=s?$)", "jan"),
        (r"(?<=\w)ssion(?=s?$)|(?<=\w)sion(?=s?$)", "shan"),
        (r"(?<=\w)cial", "shal"),
        (r"(?<=\w)(?:ci|ti)ous$", "shas"),
        (r"(?<=\w)ous$", "as"),
        (r"(?<=\w\w)tures?$", "char"),
        (r"(?<=\w\w)tu(?=al)", "chu"),
        (r"(?<=\w\w)sure$", "jar"),
        (r"(?<=\w\w)ier$", "iyar"),
        (r"(?<=\w\w)age$", "ej"),
        (r"(?<=\w\w)ice$", "is"),
        (r"(?<=\w\w)ware$", "veyar"),
        (r"(?<=\w\w)(?:er|or|ar|re)(?=s?$)", "ar"),
        (r"(?<=[bcdfgkpst])le$", "al"),
        (r"(?<=\w\w)[ae]l$", "al"),
        (r"(?<=\w\w)ed$", "d"),
        (r"(?<=[sz])es$", "es"),
        (r"(?<=\w)(?:ey|ie|y)s?$", "i"),
        # groups of letters
        (r"^kn|^gn", "n"),
        (r"^wr", "r"),
        (r"^wh(?=o)", "h"),
        (r"igh(?:t)?", "ait"),
        (r"ough(?=t)|augh(?=t)", "o"),
        (r"ough$", "af"),
        (r"tch", "ch"),
        (r"sch", "sk"),
        (r"ch(?=[lr])", "k"),
        (r"dge", "j"),
        (r"ck", "k"),
        (r"ph", "f"),
        (r"sc(?=[eiy])", "s"),
        (r"cc(?=[eiy])", "ks"),
        (r"c(?=[eiy])", "s"),
        (r"c(?!h)", "k"),
        (r"g(?=e(?!t)|y$)", "j"),
        (r"gi(?=[aou])", "j"),
        (r"qu", "kv"),
        (r"^x", "j"),
        (r"x", "ks"),
        (r"mb$", "m"),
        (r"wh", "v"),
        # vowels
        (r"eau", "o"),
        (r"eigh", "e"),
        (r"ea(?=r)", "iya"),
        (r"ee|ea|ie(?=.)", "i"),
        (r"oo", "u"),
        (r"oa", "o"),
        (r"ou|ow(?=[nd])", "au"),
        (r"ow$", "o"),
        (r"ai|ay|ei|ey", "e"),
        (r"au|aw", "o"),
        (r"oy|oi", "oy"),
        (r"ew|ue$", "yu"),
        (r"a(?=ll|lk)", "o"),
        (r"^wa(?=[rst])", "vo"),
        (r"a(?=[bcdfgjklmnpstvz]es?$)", "e"),
        (r"i(?=[bcdfgklmnpstvz]es?$)", "ai"),
        (r"o(?=[bcdfgklmnprstvz]es?$)", "o"),
        (r"u(?=[bcdfgklmnpstvz]es?$)", "yu"),
        (r"(?<=[mcp])u(?=[bcdfgklmnpstvz][aeiouy])", "yu"),
        (r"^u(?=ni)", "yu"),
        (r"^my$|(?<=^\w)y$|(?<=^\w\w)y$", "ai"),
        (r"(?<!^)ir|(?<!^)ur", "ar"),
        (r"u(?=[bcdfgklmnpstvz]{2}|[bcdfgklmnpstvz]$)", "a"),
        (r"(?<=[bcdfgjklmnprstvwz])es?$", ""),
    )
)


@lru_cache(16_384)
def english_sound(word: str) -> str:
    """One English word, in small letters, as it sounds: `nature` -> nechar."""
    sound, at = "", 0
    while at < len(word):
        for spelling, heard in _RULES:
            match = spelling.match(word, at)
            if match and match.end() > at:
                sound, at = sound + heard, match.end()
                break
        else:
            sound, at = sound + word[at], at + 1
    return _DOUBLED.sub(r"\1", sound)


def sound_out_english(text: str) -> str:
    """The text with its Latin words as they sound."""
    return _WORD.sub(lambda match: english_sound(re.sub("['’]", "", match[0]).lower()), text)
