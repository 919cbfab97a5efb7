"""The `metadata.json` of a result archive: the video's own metadata, and figures over its clips. Pure, reproducible.

The same results give the same bytes in whatever order they arrived.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from lipika import __version__
from lipika.archive.documents import METADATA_NAME, VIDEO_FORMAT, to_json
from lipika.archive.erased import leave_out
from lipika.archive.metadata import Metadata, join_members
from lipika.models import (
    LANES,
    Accounting,
    ClipResult,
    ClipStatus,
    Discard,
    Finding,
    JsonObject,
    Lane,
    Usage,
    Verdict,
)


@dataclass(slots=True)
class _LaneCount:
    clips: int = 0
    audio_ms: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, lane: Lane, duration_ms: int) -> None:
        self.clips += lane.eligible
        self.audio_ms += duration_ms if lane.eligible else 0
        self.reasons.update(lane.reasons)

    def remove(self, lane: Lane, duration_ms: int) -> None:
        self.clips -= lane.eligible
        self.audio_ms -= duration_ms if lane.eligible else 0
        self.reasons.subtract(lane.reasons)
        self.reasons += Counter()


class Summary:
    """Figures over a video's results, gathered one by one; a few bytes a clip are kept.

    Sums of fractions are exact (`math.fsum`), so that the order of arrival does not show in the result.
    """

    def __init__(self) -> None:
        self.usage = Usage()
        self._clips = self._audio_ms = self._reused = self._not_asked = 0
        self._costs, self._scores = array("d"), array("d")
        self._went_up = 0
        self._costs_by_model: dict[str, array[float]] = {}
        self._lanes = {lane: _LaneCount() for lane in LANES}
        self._counts: dict[str, Counter[str]] = {
            key: Counter()
            for key in (
                *("statuses", "detected_languages", "findings", "failures", "clip_flags", "agreements"),
                "tiers",
            )
        }
        self._versions: dict[str, Counter[str]] = {
            key: Counter()
            for key in ("models", "prompt", "schema", "trimmer", "validator", "aligner", "voting")
        }

    @property
    def cost_usd(self) -> float:
        return math.fsum(self._costs)

    def replace_failed(self, old: ClipResult, new: ClipResult) -> None:
        """Count `new`, which has failed, instead of `old` for one clip that has been added before."""
        self._counts["statuses"][old.status.value] -= 1
        self._counts["statuses"][new.status.value] += 1
        self._counts["failures"][new.failure.kind.value if new.failure else ""] += 1
        if old.failure is not None:
            self._counts["failures"][old.failure.kind.value] -= 1
        if old.answer is not None:
            self._counts["detected_languages"][old.answer.detected_language] -= 1
        self._remove_heard(old)
        if old.verdict is not None:
            self._remove_verdict(old.verdict, old.clip.duration_ms)
        for counts in (*self._counts.values(), *self._versions.values()):
            counts += Counter()  # drops what came to nothing

    def add(self, result: ClipResult) -> None:
        """Count one clip's end."""
        clip, asked = result.clip, result.provenance
        self.usage += result.usage
        self._add_costs(result)
        self._clips += 1
        self._audio_ms += clip.duration_ms
        self._reused += result.reused
        self._not_asked += not asked.asked
        self._counts["statuses"][result.status.value] += 1
        self._counts["clip_flags"].update(clip.flags)
        if result.answer is not None:
            self._counts["detected_languages"][result.answer.detected_language] += 1
        if result.failure is not None:
            self._counts["failures"][result.failure.kind.value] += 1
        if result.verdict is not None:
            self._add_verdict(result.verdict, clip.duration_ms)
        self._add_heard(result)
        if asked.asked:
            self._versions["models"][
                " ".join((asked.provider, asked.model_id, asked.model_version)).strip()
            ] += 1
            self._versions["prompt"][asked.prompt_version] += 1
            self._versions["schema"][asked.schema_version] += 1
        self._versions["trimmer"][clip.trimmer_version] += 1

    def _add_costs(self, result: ClipResult) -> None:
        """All that its clip has cost: in a cascade, answers that were not chosen too."""
        asked = result.provenance
        paid = [(one.model_id, one.usd) for one in asked.cascade] or [(asked.model_id, result.cost_usd)]
        self._went_up += bool(asked.cascade)
        for model_id, usd in paid:
            self._costs.append(usd)
            if asked.asked:
                self._costs_by_model.setdefault(model_id, array("d")).append(usd)

    def _add_verdict(self, verdict: Verdict, duration_ms: int) -> None:
        self._scores.append(verdict.quality_score)
        self._versions["validator"][verdict.validator_version] += 1
        self._counts["findings"].update(map(_finding_name, verdict.findings))
        for name, count in self._lanes.items():
            count.add(getattr(verdict, name), duration_ms)

    def amend_heard(self, old: ClipResult, new: ClipResult) -> None:
        """Count `new`, with what others made of the clip, instead of `old` for one that has been added before."""
        if old.verdict is not None and new.verdict is not None:
            self.amend(old.verdict, new.verdict, old.clip.duration_ms)
        self._remove_heard(old)
        self._add_heard(new)

    def _add_heard(self, result: ClipResult) -> None:
        if result.alignment is not None:
            self._counts["agreements"][result.alignment.agreement.value] += 1
            self._versions["aligner"][result.alignment.version] += 1
        if result.consensus is not None:
            self._counts["tiers"][result.consensus.tier.value] += 1
            self._versions["voting"][result.consensus.version] += 1

    def _remove_heard(self, result: ClipResult) -> None:
        if result.alignment is not None:
            self._counts["agreements"][result.alignment.agreement.value] -= 1
            self._versions["aligner"][result.alignment.version] -= 1
        if result.consensus is not None:
            self._counts["tiers"][result.consensus.tier.value] -= 1
            self._versions["voting"][result.consensus.version] -= 1
        for counts in (self._counts["agreements"], self._counts["tiers"], *self._versions.values()):
            counts += Counter()  # drops what came to nothing

    def amend(self, old: Verdict, new: Verdict, duration_ms: int) -> None:
        """Count `new` instead of `old` for one clip that has been added before."""
        self._remove_verdict(old, duration_ms)
        self._add_verdict(new, duration_ms)

    def _remove_verdict(self, old: Verdict, duration_ms: int) -> None:
        self._scores.remove(old.quality_score)
        self._counts["findings"].subtract(map(_finding_name, old.findings))
        self._counts["findings"] += Counter()  # drops what came to nothing
        self._versions["validator"][old.validator_version] -= 1
        for name, count in self._lanes.items():
            count.remove(getattr(old, name), duration_ms)

    def document(self) -> dict[str, object]:
        """The figures, for `metadata.json`: counts by name, scores, tokens, dollars, versions."""
        return {
            "clips": self._clips,
            "audio_ms": self._audio_ms,
            "reused": self._reused,
            "not_asked": self._not_asked,
            "usage": {**_fields(self.usage), "total": self.usage.total},
            "cost_usd": self.cost_usd,
            "cost_usd_by_model": {
                name: math.fsum(costs) for name, costs in sorted(self._costs_by_model.items())
            },
            "went_up": self._went_up,
            "quality_score": _distribution(self._scores),
            "lanes": {
                name: {"clips": lane.clips, "audio_ms": lane.audio_ms, "reasons": _sort_counts(lane.reasons)}
                for name, lane in self._lanes.items()
            },
            **{key: _sort_counts(counts) for key, counts in self._counts.items()},
            "versions": {"lipika": __version__, **self.versions()},
        }

    def endings(self) -> dict[str, int]:
        """Clips by how they ended."""
        return {status.value: self._counts["statuses"][status.value] for status in ClipStatus}

    def versions(self) -> dict[str, dict[str, int]]:
        """Clips by what they were made with."""
        return {key: _sort_counts(counts) for key, counts in self._versions.items()}


def result_metadata(
    original: Metadata | JsonObject,
    video_id: str,
    language_hint: str | None,
    accounting: Accounting,
    discards: Sequence[Discard],
    summary: Summary,
    digests: Mapping[str, str] | None = None,
) -> bytes:
    """The result archive's `metadata.json`: the video's own metadata, its values as they were written, plus
    `transcription`.

    `digests` are SHA-256 by name, of the archive's folders. Where the original already has a `transcription`,
    as an archive that is transcribed again, it is kept as `transcription.previous`.

    Raises:
        ValueError: the original holds what JSON cannot.
    """
    block: dict[str, object] = {
        "format": VIDEO_FORMAT,
        "video_id": video_id,
        "language_hint": language_hint,
        "accounting": {
            **_fields(accounting),
            "discard_reasons": dict(sorted(accounting.discard_reasons.items())),
        },
        "discards": discards,
        **summary.document(),
        "digests": dict(digests or {}),
    }
    members = (original if isinstance(original, Metadata) else Metadata.from_fields(original)).members()
    own = {key: _text(value, 2) for key, value in block.items()}
    if "transcription" in members:
        own["previous"] = members["transcription"]
    return _add_block(members, own)


def amend_metadata(
    metadata: bytes,
    summary: Summary,
    keys: Iterable[str],
    versions: Iterable[str],
    digests: Callable[[], dict[str, str]],
    *,
    endings: bool = False,
) -> bytes:
    """A result's `metadata.json` with a new summary's values under `keys`, and its versions of some tiers; with
    `endings` the accounting says how many clips ended how by the summary, too.

    All others stay as they were written. `digests` are asked for where the metadata hold those of transcriptions.
    """
    members = Metadata(metadata).members()
    block = Metadata(members["transcription"].encode()).members()
    old, fresh = orjson.loads(f"[{block['versions']},{block['digests']}]"), summary.document()
    changes = {key: fresh[key] for key in keys}
    changes["versions"] = old[0] | {version: summary.versions()[version] for version in versions}
    if endings:
        changes["accounting"] = orjson.loads(block["accounting"]) | summary.endings()
    if "transcriptions_sha256" in old[1]:
        changes["digests"] = old[1] | digests()
    return _add_block(members, block | {key: _text(value, 2) for key, value in changes.items()})


def shrink_metadata(
    metadata: bytes,
    summary: Summary,
    accounting: Accounting,
    discards: Sequence[Mapping[str, object]],
    audio_digests: Sequence[str],
    digests: Callable[[], dict[str, str]],
    named: Callable[[str], bool],
) -> bytes:
    """A result's `metadata.json` after clips have gone: all figures over those that stay, and nobody in it who is
    `named`. What was reused, and the version that packed it, stay as they were written.

    `audio_digests` are of the clips that stay, in their order; `digests` are asked for where the metadata hold
    those of transcriptions.
    """
    members = Metadata(metadata).members()
    own = Metadata(
        join_members({key: text for key, text in members.items() if key != "transcription"}).encode()
    )
    block = Metadata(members["transcription"].encode()).members()
    held = orjson.loads(f"[{block['versions']},{block['digests']}]")
    figures = {key: value for key, value in summary.document().items() if key not in ("versions", "reused")}
    changes: dict[str, object] = {
        **figures,
        "accounting": _fields(accounting)
        | {"discard_reasons": dict(sorted(accounting.discard_reasons.items()))},
        "discards": discards,
        "versions": held[0] | summary.versions(),
        "digests": held[1]
        | ({"clips_audio_sha256": _digest_over(audio_digests)} if "clips_audio_sha256" in held[1] else {})
        | (digests() if "transcriptions_sha256" in held[1] else {}),
    }
    texts = block | {key: _text(value, 2) for key, value in changes.items()}
    if "previous" in texts:
        former = leave_out(Metadata(f'{{"previous": {texts["previous"]}}}'.encode()), named).members()
        texts = {key: text for key, text in texts.items() if key != "previous"} | former
    return _add_block(leave_out(own, named).members(), texts)


def _digest_over(audio_digests: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for digest in audio_digests:
        whole.update(bytes.fromhex(digest))
    return whole.hexdigest()


def _add_block(members: Mapping[str, str], block: Mapping[str, str]) -> bytes:
    return join_members({**members, "transcription": join_members(block, 1)}).encode() + b"\n"


def _text(value: object, level: int) -> str:
    """JSON as people read it, so many levels deep in a document."""
    lines = to_json(value, METADATA_NAME, orjson.OPT_INDENT_2).decode()
    return lines.replace("\n", "\n" + level * "  ")


def _finding_name(finding: Finding) -> str:
    return f"{finding.code}:{finding.severity}"


def _fields(value: Usage | Accounting) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__slots__}


def _sort_counts(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, then by name: stable, and pleasant to read."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _distribution(values: array[float]) -> dict[str, object] | None:
    """Mean and percentiles (nearest rank); None without values."""
    if not values:
        return None
    ranked = sorted(values)
    percentiles = {f"p{p}": ranked[math.ceil(p / 100 * len(ranked)) - 1] for p in (10, 50, 90)}
    return {"count": len(ranked), "mean": math.fsum(ranked) / len(ranked), "min": ranked[0], **percentiles}
