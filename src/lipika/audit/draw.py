"""The draw of an audit: one pass over the clips, page by page, that counts strata and takes a fair sample of each.

A clip's place in the draw is a hash of its name under the audit's seed, which knows nothing of its video, its size or
its text: the clips of a stratum with the smallest hashes are a simple random sample without replacement, however many
pages they come from. Memory holds names of those alone. What is left over of them is a reserve for further draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from random import Random

from lipika.audit.estimates import PROXY_CAP
from lipika.audit.sampling import allot, allot_more
from lipika.db.audits import (
    AuditRecord,
    Audits,
    AuditStratum,
    ClipText,
    HeardClip,
    NewAudit,
    NewAuditClip,
    ReservePlace,
    StratumKey,
    StratumPage,
)
from lipika.errors import UsageError

RESERVE = 3
"""Times the clips that are heard at first, of each stratum: for further draws out of the same corpus."""
_PAGE_ROWS = 30_000

Told = Callable[[int, int], object]
"""(clips passed so far, of all as counters know it)."""


@dataclass(frozen=True, slots=True)
class DrawOrder:
    """The wishes of whoever draws. `languages` empty: all there are; `lane` empty: all transcribed clips."""

    seed: int
    drawn_by: str
    languages: tuple[str, ...] = ()
    lane: str = ""
    per_language: int = 300
    double_share: float = 0.1
    limit_cer: float = 0.05
    limit_unusable: float = 0.02


@dataclass(slots=True)
class _Sums:
    """A stratum in the making."""

    clips: int = 0
    proxy_errors: float = 0.0
    proxy_letters: float = 0.0
    proxy_squares: float = 0.0
    smallest: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, page: StratumPage, most: int) -> None:
        self.clips += page.clips
        self.proxy_errors += page.proxy_errors
        self.proxy_letters += page.proxy_letters
        self.proxy_squares += page.proxy_squares
        fresh = [(place, video, file) for place, video, file in page.smallest]
        self.smallest = nsmallest(most, [*self.smallest, *fresh])

    def frozen(self, key: StratumKey) -> AuditStratum:
        mean = self.proxy_errors / max(self.clips, 1)
        spread = math.sqrt(max(self.proxy_squares / max(self.clips, 1) - mean**2, 0.0))
        return AuditStratum(
            key.language, key.lanes, key.tier, self.clips, self.proxy_errors, self.proxy_letters, spread
        )


async def draw(audits: Audits, order: DrawOrder, told: Told = lambda _passed, _of: None) -> int:
    """Draw an audit and put it on record; returns its number.

    Raises:
        UsageError: there is no clip to draw from.
    """
    sums = await _pass_over(audits, order, told)
    if not sums:
        within = f" of {', '.join(order.languages)}" if order.languages else ""
        lane = f" in lane {order.lane}" if order.lane else ""
        raise UsageError(
            f"there are no transcribed clips{within}{lane} to draw from: `lipika status` shows what is there"
        )
    keys = sorted(sums, key=lambda key: (key.language, key.lanes, key.tier))
    strata = [sums[key].frozen(key) for key in keys]
    names = [[(video, file) for _, video, file in sums[key].smallest] for key in keys]
    texts = await audits.texts([name for stratum in names for name in stratum], PROXY_CAP)
    found = [[texts[name] for name in stratum if name in texts] for stratum in names]
    clips = choose(strata, found, order)
    audit = NewAudit(
        seed=order.seed,
        lane=order.lane,
        per_language=order.per_language,
        double_share=order.double_share,
        limit_cer=order.limit_cer,
        limit_unusable=order.limit_unusable,
        drawn_by=order.drawn_by,
        strata=strata,
    )
    return await audits.create(audit, clips)


async def _pass_over(audits: Audits, order: DrawOrder, told: Told) -> dict[StratumKey, _Sums]:
    """Every stratum with its sums and the names of its smallest hashes."""
    most = order.per_language * (1 + RESERVE)
    size, passed = await audits.size(), 0
    sums: dict[StratumKey, _Sums] = {}
    async for after, last in audits.page_ends(_PAGE_ROWS):
        taken = {key: one.smallest[-1][0] for key, one in sums.items() if len(one.smallest) >= most}
        pages = await audits.strata(
            after,
            last,
            seed=order.seed,
            cap=PROXY_CAP,
            most=most,
            languages=order.languages or None,
            lane=order.lane,
            known=taken,
        )
        for page in pages:
            sums.setdefault(page.key, _Sums()).add(page, most)
            passed += page.clips
        told(passed, size)
    return sums


def choose(
    strata: Sequence[AuditStratum], found: Sequence[Sequence[ClipText]], order: DrawOrder
) -> list[NewAuditClip]:
    """The clips that are heard, shared out language by language, and those in reserve: in random order."""
    chance = Random(order.seed)
    parts = _parts(strata, order.per_language)
    far = _parts(strata, order.per_language * (1 + RESERVE))
    heard = [
        (place, clip)
        for place, (clips, part) in enumerate(zip(found, parts, strict=True))
        for clip in clips[:part]
    ]
    spare = [
        (place, clip)
        for place, (clips, part, last) in enumerate(zip(found, parts, far, strict=True))
        for clip in clips[part : max(part, last)]
    ]
    chance.shuffle(heard)
    chance.shuffle(spare)
    doubled = choose_doubled(
        [(number, strata[place].language) for number, (place, _) in enumerate(heard)],
        order.double_share,
        chance,
    )
    return [
        NewAuditClip(
            place=number,
            stratum=place,
            look=int(number < len(heard)),
            doubled=number in doubled,
            video_id=clip.video_id,
            segment_file=clip.segment_file,
            audio_digest=clip.audio_digest,
            duration_ms=clip.duration_ms,
            language=strata[place].language,
            transcription=clip.transcription,
            proxy_errors=clip.proxy_errors,
            proxy_letters=clip.proxy_letters,
        )
        for number, (place, clip) in enumerate([*heard, *spare])
    ]


def choose_doubled(clips: Sequence[tuple[int, str]], share: float, chance: Random) -> set[int]:
    """Places that two people hear: so large a share of each language's (place, language)."""
    doubled: set[int] = set()
    for language in sorted({language for _, language in clips}):
        places = [place for place, of in clips if of == language]
        doubled |= set(chance.sample(places, min(math.ceil(share * len(places) - 1e-9), len(places))))
    return doubled


def choose_more(
    audit: AuditRecord,
    heard: Sequence[HeardClip],
    reserve: Sequence[ReservePlace],
    wanted: Mapping[str, int],
) -> tuple[list[int], set[int]]:
    """(places out of the reserve, those of them that two people hear): so many more clips of each language."""
    have = [0] * len(audit.strata)
    for clip in heard:
        have[clip.stratum] += 1
    spare: list[list[int]] = [[] for _ in audit.strata]
    for one in reserve:
        spare[one.stratum].append(one.place)
    parts = list(have)
    for language, more in wanted.items():
        places = [place for place, stratum in enumerate(audit.strata) if stratum.language == language]
        shared = allot_more(
            [audit.strata[place].clips for place in places],
            [have[place] for place in places],
            [have[place] + len(spare[place]) for place in places],
            more,
            spreads=[audit.strata[place].proxy_spread for place in places],
        )
        for place, part in zip(places, shared, strict=True):
            parts[place] = part
    places = [place for number, part in enumerate(parts) for place in spare[number][: part - have[number]]]
    chance = Random(audit.seed * 1_000 + audit.looks)
    language_of = {one.place: audit.strata[one.stratum].language for one in reserve}
    doubled = choose_doubled([(place, language_of[place]) for place in places], audit.double_share, chance)
    return places, doubled


def _parts(strata: Sequence[AuditStratum], heard: int) -> list[int]:
    """Clips of each stratum that add up to so many of each language."""
    parts = [0] * len(strata)
    for language in {stratum.language for stratum in strata}:
        places = [place for place, stratum in enumerate(strata) if stratum.language == language]
        shared = allot(
            [strata[place].clips for place in places],
            heard,
            spreads=[strata[place].proxy_spread for place in places],
        )
        for place, part in zip(places, shared, strict=True):
            parts[place] = part
    return parts
