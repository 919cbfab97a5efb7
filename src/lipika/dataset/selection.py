"""The choice of clips, as conditions in SQL over the columns of candidates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from lipika.dataset.sql import sql_text
from lipika.models import LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The clips that are wanted; what is empty asks for nothing."""

    lane: str = "asr"  # "" takes all
    languages: tuple[str, ...] = ()
    min_score: float = 0.0
    seconds: tuple[float, float] = (0.0, 3600.0)
    min_snr_db: float | None = None
    with_findings: tuple[str, ...] = ()  # at least one of them
    without_findings: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # a model's name or the version that answered
    prompts: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    text_sources: tuple[str, ...] = ()
    only_videos: bool = False  # those of the table `wanted_videos`
    where: str = ""  # SQL over the columns of candidates
    skipme: bool = False  # every clip goes in; what would be dropped is marked

    def document(self) -> dict[str, object]:
        """All that was asked for, without what was not."""
        empty = Selection()
        return {name: value for name, value in asdict(self).items() if value != getattr(empty, name)} | {
            "lane": self.lane
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """A clip is dropped for `reason` unless `keeps`, which is SQL, holds."""

    reason: str
    keeps: str
    always: bool = field(default=False)  # even where everything is carried: there is nothing to carry


REASONS: Mapping[str, str] = {
    "no_archive": "its video is not done: there is no result archive to take it from",
    "duplicate_clip": "the same clip is in another archive, of another run over its video",
    "failed": "no answer was got for it",
    "no_speech": "nobody speaks",
    "unusable": "a person says that nobody should use it",
    "video": "its video is not in the list",
    "language": "another language",
    "lane": "the lane is closed",
    "score": "below the least score",
    "duration": "too short or too long",
    "snr": "too noisy",
    "findings": "by its findings",
    "tier": "of another tier",
    "speaker": "another speaker",
    "model": "another model",
    "prompt": "another prompt",
    "provider": "another provider",
    "text_source": "the text comes from elsewhere",
    "where": "by --where",
    "empty_text": "nothing is left of the text in this view",
    "latin": "Latin words, which this view does not take",
    "marker": "words are missing in the text, as its markers say",
    "script": "letters of another script",
    "number": "a number that cannot be put in words",
    "vocabulary": "a character that the model does not know",
    "duplicate_audio": "the same audio is there already, or in an earlier split",
    "text_in_earlier_split": "its sentence is in an earlier split, such as train",
    "same_text": "its sentence is there often enough",
}
"""Every reason for which a clip is dropped, in the order in which they are looked at; the first one counts."""


def conditions(wanted: Selection) -> tuple[Condition, ...]:
    """The conditions of a selection, in the order in which they are looked at."""
    low_s, high_s = wanted.seconds
    asked = (
        ("video", "video_id in (select video_id from wanted_videos)" if wanted.only_videos else ""),
        ("language", f"language in {_texts(wanted.languages)}" if wanted.languages else "language <> ''"),
        ("lane", _lane(wanted.lane)),
        ("score", f"quality_score >= {wanted.min_score!r}" if wanted.min_score else ""),
        ("duration", f"duration_ms between {round(low_s * 1000)} and {round(high_s * 1000)}"),
        ("snr", "" if wanted.min_snr_db is None else f"snr_db >= {wanted.min_snr_db!r}"),
        ("findings", _findings(wanted)),
        ("tier", _among("tier", wanted.tiers)),
        ("speaker", _among("speaker", wanted.speakers)),
        (
            "model",
            f"(model_id in {_texts(wanted.models)} or model_version in {_texts(wanted.models)})"
            if wanted.models
            else "",
        ),
        ("prompt", _among("prompt_version", wanted.prompts)),
        ("provider", _among("provider", wanted.providers)),
        ("text_source", _among("text_source", wanted.text_sources)),
        ("where", f"({wanted.where}\n)" if wanted.where else ""),
    )
    return (
        Condition("no_archive", "archive is not null", always=True),
        Condition("failed", "status in ('transcribed', 'no_speech')"),
        Condition("no_speech", "status = 'transcribed'"),
        Condition("unusable", f"not {_any_finding(['unusable'])}"),
        *(Condition(reason, keeps) for reason, keeps in asked if keeps),
    )


def case_of(conditions: Iterable[Condition], *, otherwise: str) -> str:
    """The reason of the first condition that does not hold, as SQL; a condition over nothing does not hold."""
    branches = (f"when not coalesce({one.keeps}, false) then {sql_text(one.reason)}" for one in conditions)
    return f"case {' '.join(branches)} else {otherwise} end"


def _texts(values: Iterable[str]) -> str:
    return f"({', '.join(map(sql_text, values))})"


def _among(column: str, values: tuple[str, ...]) -> str:
    return f"{column} in {_texts(values)}" if values else ""


def _lane(lane: str) -> str:
    if not lane:
        return ""
    if lane not in LANES:
        raise ValueError(f"{lane!r} is not one of {', '.join(LANES)}")
    return lane


def _findings(wanted: Selection) -> str:
    parts = []
    if wanted.with_findings:
        parts.append(_any_finding(wanted.with_findings))
    if wanted.without_findings:
        parts.append(f"not {_any_finding(wanted.without_findings)}")
    return " and ".join(parts)


def _any_finding(codes: Iterable[str]) -> str:
    return f"list_has_any(string_split(coalesce(findings, ''), ' '), [{', '.join(map(sql_text, codes))}])"
