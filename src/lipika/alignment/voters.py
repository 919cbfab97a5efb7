"""Several texts of one clip weighed against each other: how far they agree, and which two do least. Pure.

A text is held against another as an answer is against what a recogniser heard: normalised, numbers in words,
romanised, English by its sound, without spaces. Spelling is no disagreement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from lipika.alignment.compare import language_of, spoken_readings
from lipika.alignment.romanise import Romaniser
from lipika.alignment.sounds import Words, distance, edits, is_mixed
from lipika.languages import FIRST_CLASS
from lipika.models import Alignment, ClipResult, Consensus, TextSource, Tier, Voter, VoterKind
from lipika.validation.aligned import add_alignment
from lipika.validation.person import decide

VOTING_VERSION = "1"
"""Bump when any clip could get another tier or distance from the same texts."""

RECOGNISER = "indicconformer"
NOBODY_SPEAKS = "NO_SPEECH"
PERSON = "person"
"""Whose text it is where a person has edited or approved it: by no name, which is nobody else's business."""
SHORT_LETTERS = 6  # of sound, on both sides: one letter is spelling


@dataclass(frozen=True, slots=True)
class TierCuts:
    """Distances up to which two texts agree (`gold`), or nearly do (`silver`)."""

    gold: float = 0.10
    silver: float = 0.20


TIER_CUTS: Mapping[str, TierCuts] = dict.fromkeys(FIRST_CLASS, TierCuts()) | {
    "bn": TierCuts(0.12, 0.24),
    "gu": TierCuts(0.12, 0.24),
    "te": TierCuts(0.12, 0.24),
    "ml": TierCuts(0.14, 0.26),
    "ta": TierCuts(0.15, 0.28),
}
"""Inferred: a tenth of the letters, and more where the second recogniser errs more (letters wrong on FLEURS: hi 3 %,
kn 4 %, gu 6 %, ta 12 %) or English in native letters comes out further from its spelling (`compare.CUTS`)."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """The voters of one clip, its own text first, and the language they are in (a code of the registry)."""

    language: str
    voters: Sequence[Voter]


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to say a text: its letters, and its sounds with vowels and without."""

    mixed: bool
    full: Words
    bare: Words


_Readings = Sequence[_Reading]


def weigh(ballots: Sequence[Ballot], romaniser: Romaniser) -> list[Consensus | None]:
    """The consensus of each clip's voters, in order; None where fewer than two can be compared.

    Voters of one digest count once, the first of them. Texts in English, or in a language that is not known, are not
    compared.
    """
    voices = [_voices(ballot) for ballot in ballots]
    wanted: dict[str, list[str]] = defaultdict(list)
    for ballot, heard in zip(ballots, voices, strict=True):
        wanted[ballot.language] += [voter.text for voter in heard]
    readings = {code: _read(sorted(set(texts)), code, romaniser) for code, texts in wanted.items() if texts}
    version = voting_version(romaniser)
    return [
        _trust_person(ballot)
        or (_weigh(heard, readings[ballot.language], TIER_CUTS[ballot.language], version) if heard else None)
        for ballot, heard in zip(ballots, voices, strict=True)
    ]


def _trust_person(ballot: Ballot) -> Consensus | None:
    """Gold where the clip's own text is a person's, whoever hears otherwise; None where it is not."""
    own = ballot.voters[0] if ballot.voters else None
    if own is None or (own.kind, own.digest) != (VoterKind.PERSON, PERSON):
        return None
    return Consensus(Tier.GOLD, 0.0, (PERSON, PERSON), 1, PERSON)


def voters_of(result: ClipResult) -> list[Voter]:
    """All voters of a clip, its own text first; nobody where it has no answer."""
    if result.answer is None:
        return []
    asked, alignment = result.provenance, result.alignment
    own = (
        Voter(PERSON, VoterKind.PERSON, result.answer.transcription, PERSON)
        if result.text_source is TextSource.PERSON
        else model_voter(
            result.answer.transcription,
            asked.model_id,
            asked.temperature,
            asked.thinking_level,
            asked.prompt_version,
            asked.schema_version,
        )
    )
    heard = (
        [Voter(RECOGNISER, VoterKind.RECOGNISER, alignment.heard, alignment.version)]
        if alignment is not None and alignment.heard
        else []
    )
    return [own, *heard, *result.voters]


def model_voter(
    text: str, model_id: str, temperature: float | None, thinking_level: str, prompt: str, schema: str
) -> Voter:
    """A model's text. Asked in one way, through whatever provider, it is one voice."""
    way = (model_id, temperature, thinking_level, prompt, schema)
    return Voter(model_id, VoterKind.MODEL, text, " ".join(map(str, way)))


def ballot_of(result: ClipResult) -> Ballot:
    """A clip as it is weighed."""
    language = language_of(result.answer, result.language_hint) if result.answer else ""
    return Ballot(language, voters_of(result))


def consensus_of_alignment(result: ClipResult) -> Consensus | None:
    """The consensus of a clip's own text and the recogniser's, by the distance that the alignment has found.

    None where they could not be compared, or others are to be weighed with them.
    """
    alignment = result.alignment
    if alignment is None or alignment.score is None or result.voters or alignment.language not in TIER_CUTS:
        return None
    distance, cuts = round(1 - alignment.score, 4), TIER_CUTS[alignment.language]
    voters = voters_of(result)
    return Consensus(
        tier=_tier(voters, {(0, 1): distance}, cuts),
        distance=distance,
        between=(voters[0].name, voters[1].name),
        voters=len(voters),
        version=f"{VOTING_VERSION}+{alignment.version.rpartition('+')[2]}",
    )


def apply_alignment(result: ClipResult, alignment: Alignment | None) -> ClipResult:
    """The result with what was heard, and what that means for its verdict and tier; as it is where that is none."""
    if alignment is None or result.verdict is None:
        return result
    verdict = add_alignment(result.verdict, alignment)
    if result.text_source is TextSource.PERSON:  # it is shown, and decides nothing
        return replace(result, alignment=alignment, verdict=decide(verdict))
    heard = replace(result, alignment=alignment, verdict=verdict)
    return replace(heard, consensus=consensus_of_alignment(heard))


def voting_version(romaniser: Romaniser) -> str:
    """The version that every consensus carries."""
    return f"{VOTING_VERSION}+{romaniser.name}"


def text_distance(first: str, second: str, code: str, romaniser: Romaniser) -> float:
    """The distance of two texts of one language, 0..1, the same either way; 1 where one of them is NO_SPEECH."""
    readings = _read([first, second], code, romaniser)
    return _distance(readings[first], readings[second])


def text_edits(said: str, true: str, code: str, romaniser: Romaniser) -> tuple[int, int]:
    """(letters of sound to be changed in `said`, letters of `true`), by the cheapest ways to say both.

    Spelling is no error, and neither is where words begin: what is counted is what `text_distance` compares.
    """
    readings = _read([said, true], code, romaniser)
    return min(
        (
            _changes(one, other)
            for one in readings[said] or [_SILENCE]
            for other in readings[true] or [_SILENCE]
        ),
        key=lambda found: found[0] / max(found[1], 1),
    )


def _changes(one: _Reading, other: _Reading) -> tuple[int, int]:
    first, second = (one.bare, other.bare) if one.mixed or other.mixed else (one.full, other.full)
    return edits(first, second), sum(map(len, second))


def _voices(ballot: Ballot) -> list[Voter]:
    """Those who count; nobody where there are fewer than two."""
    first_of: dict[str, Voter] = {}
    for voter in ballot.voters:
        first_of.setdefault(voter.digest, voter)
    return list(first_of.values()) if len(first_of) > 1 and ballot.language in TIER_CUTS else []


def _weigh(voters: list[Voter], readings: Mapping[str, _Readings], cuts: TierCuts, version: str) -> Consensus:
    apart = {
        (first, second): _distance(readings[voters[first].text], readings[voters[second].text])
        for first, second in combinations(range(len(voters)), 2)
    }
    worst = max(apart, key=lambda pair: apart[pair])
    return Consensus(
        tier=_tier(voters, apart, cuts),
        distance=round(apart[worst], 4),
        between=(voters[worst[0]].name, voters[worst[1]].name),
        voters=len(voters),
        version=version,
    )


def _tier(voters: Sequence[Voter], apart: Mapping[tuple[int, int], float], cuts: TierCuts) -> Tier:
    """By all pairs; where a person has spoken, by how far the clip's own text is from that."""
    people = {number for number, voter in enumerate(voters) if voter.kind is VoterKind.PERSON}
    if people and 0 not in people:
        apart = {pair: gap for pair, gap in apart.items() if pair[0] == 0 and pair[1] in people}
    elif people:
        return Tier.GOLD
    own = [gap for (first, _), gap in apart.items() if first == 0]
    if max(apart.values()) <= cuts.gold:
        return Tier.GOLD
    return Tier.SILVER if min(own) <= cuts.gold or max(apart.values()) <= cuts.silver else Tier.BRONZE


# ----------------------------------------------------------------------------- two texts


def _read(texts: Sequence[str], code: str, romaniser: Romaniser) -> dict[str, _Readings]:
    """Every text in each way to say its numbers; NO_SPEECH has nothing to say."""
    ways = {text: [] if text.strip() == NOBODY_SPEAKS else spoken_readings(text, code) for text in texts}
    flat = [way for text in ways for way in ways[text]]
    full, bare = romaniser.words(flat, code), romaniser.words(flat, code, mixed=True)
    sounds = iter(zip(flat, full, bare, strict=True))
    return {
        text: [_Reading(is_mixed(way, code), *words) for way, *words in (next(sounds) for _ in ways[text])]
        for text in ways
    }


def _distance(first: _Readings, second: _Readings) -> float:
    """The least among the ways to say both."""
    return min(
        (_gap(one, other) for one in first or [_SILENCE] for other in second or [_SILENCE]), default=0.0
    )


_SILENCE = _Reading(mixed=False, full=(), bare=())


def _gap(one: _Reading, other: _Reading) -> float:
    first, second = (one.bare, other.bare) if one.mixed or other.mixed else (one.full, other.full)
    letters = max(sum(map(len, first)), sum(map(len, second)))
    spelling = letters < SHORT_LETTERS and edits(first, second) <= 1 and any(first) and any(second)
    return 0.0 if spelling else distance(first, second)
