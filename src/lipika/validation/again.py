"""Judging stored answers of one video anew: as `validate` does, with what only the whole video can show. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lipika.models import Answer, Clip, Finding, SegmentName, Verdict
from lipika.validation import DEFAULT_BANDS, Bands, add_findings, overlap_findings, overlaps, validate
from lipika.validation.catalogue import RULES
from lipika.validation.compare import ComparedVerdict
from lipika.validation.person import decide

OF_WHOLE_VIDEO = frozenset({"overlap_timeline"})
"""What is found here anew, among all clips of a video; other findings that come later are kept."""


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """A stored answer with its clip, and what has been said of it. `findings` are the old verdict's."""

    answer: Answer
    clip: Clip
    language_hint: str
    findings: tuple[Finding, ...]
    before: ComparedVerdict
    by_person: bool = False  # whose word decides lanes and score


def judge_again(
    held: Sequence[JudgedAnswer], segments: Iterable[SegmentName], bands: Bands = DEFAULT_BANDS
) -> Iterator[Verdict]:
    """New verdicts for clips of one video, in their order.

    `segments` are all names of the video, its clips and what was discarded: overlap is found among them. Findings of
    a second recogniser stay as they are.
    """
    shared = overlap_findings(overlaps([one.clip.name for one in held], segments))
    for one in held:
        agreed = any(found.code == "repetition_agreed" for found in one.findings)
        verdict = validate(one.answer, one.clip, one.language_hint, bands=bands, agreed=agreed)
        extra = [finding for finding in one.findings if _is_kept(finding)]
        if one.clip.name in shared:
            extra.append(shared[one.clip.name])
        verdict = add_findings(verdict, extra)
        yield decide(verdict) if one.by_person else verdict


def _is_kept(finding: Finding) -> bool:
    rule = RULES.get(finding.code)
    return rule is not None and rule.later and finding.code not in OF_WHOLE_VIDEO | {"repetition_agreed"}
