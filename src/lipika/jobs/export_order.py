"""From what was given on the command line to the order of an export: every option read and checked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lipika.archive.sources import is_url
from lipika.dataset.formats import FORMATS
from lipika.dataset.model import AudioForm
from lipika.dataset.place import sha256_of_file
from lipika.dataset.plan import PLAN, PlanOptions
from lipika.dataset.selection import Selection
from lipika.dataset.splits import THEIRS, Split, parse_splits
from lipika.dataset.user_files import UserFiles
from lipika.dataset.views import LatinPolicy, View, ViewKind
from lipika.dataset.vocabulary import Vocabulary
from lipika.dataset.wanted import TextRules
from lipika.errors import UsageError
from lipika.jobs.export import ExportOrder
from lipika.models import Tier
from lipika.storage import local_path


def read_order(name: str, lane: str, given: Mapping[str, Any]) -> ExportOrder:
    """The order for one format; `given` are the command's options by name.

    Raises:
        UsageError: an option cannot be used.
    """
    _check_numbers(given)
    splits = _splits(given)
    chosen = FORMATS[name]
    view = View(ViewKind(given["view"].value), LatinPolicy(given["latin"].value))
    vocabulary = _vocabulary(given["vocabulary"])
    form = _form(name, wav=given["wav"])
    least_s, most_s = chosen.seconds
    selection = Selection(
        lane=lane,
        languages=given["language"],
        min_score=given["min_score"],
        seconds=(max(given["min_seconds"], least_s), min(given["max_seconds"], most_s)),
        min_snr_db=given["min_snr"],
        with_findings=_several(given["with_finding"]),
        without_findings=_several(given["without_finding"]),
        tiers=_tiers(given["tier"]),
        speakers=_several(given["speaker"]),
        models=_several(given["model"]),
        prompts=_several(given["prompt"]),
        providers=_several(given["provider"]),
        text_sources=_several(given["text_source"]),
        only_videos=given["videos"] is not None,
        where=given["where"],
        skipme=given["skipme"],
    )
    options = PlanOptions(
        selection=selection,
        format=name,
        view=_view_words(view, given),
        form=form.value,
        sample_rate_hz=given["sample_rate"],
        splits=splits,
        seed=given["seed"],
        group_by=given["group_by"],
        max_same_text=given["max_same_text"],
        keep_duplicates=given["keep_duplicates"],
        clips_per_shard=given["clips_per_shard"] or chosen.clips_per_shard,
        audio_root=given["audio_root"],
        source=_sources(given["sources"] or ()),
    )
    return ExportOrder(
        sources=tuple(given["sources"] or ()),
        options=options,
        rules=TextRules(
            view, vocabulary, given["language"], by_hint=given["by_hint"], any_language=given["skipme"]
        ),
        user=UserFiles(
            videos=_file(given["videos"], "--videos"),
            columns=_file(given["columns"], "--columns"),
            splits_of=_earlier(given["splits_of"]),
        ),
        title=given["title"],
        licence=given["licence"],
        again=given["again"],
        actors=given["actors"] if given["engine"].value == "ray" else 0,
        address=given["address"],
        jobs=given["jobs"],
        memory=given["memory"],
        data_dir=given["data_dir"],
    )


def _check_numbers(given: Mapping[str, Any]) -> None:
    for option in ("min_score", "min_seconds", "max_seconds", "min_snr"):
        if given[option] is not None and not math.isfinite(given[option]):
            raise UsageError(f"--{option.replace('_', '-')} {given[option]}: give a number")


def _splits(given: Mapping[str, Any]) -> tuple[Split, ...]:
    splits = parse_splits(given["split"])
    if splits == THEIRS and not given["sources"]:
        raise UsageError(
            "--split theirs takes --from: which split a clip had stands in the result archives, and no row of the"
            " database says it"
        )
    if splits == THEIRS and given["splits_of"] is not None:
        raise UsageError("--split theirs and --splits-of say two things: give one of them")
    return splits


def _form(name: str, *, wav: bool) -> AudioForm:
    forms = FORMATS[name].forms
    if not wav:
        return forms[0]
    if AudioForm.WAV not in forms:
        raise UsageError(f"{name} takes no WAV here: leave --wav out, or choose another format")
    return AudioForm.WAV


def _several(values: list[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for value in values or () for part in value.split(",") if part))


def _tiers(values: list[str] | None) -> tuple[str, ...]:
    tiers = _several(values)
    for tier in tiers:
        if tier not in {one.value for one in Tier}:
            raise UsageError(f"--tier {tier}: not one of {', '.join(one.value for one in Tier)}")
    return tiers


def _vocabulary(path: Path | None) -> Vocabulary | None:
    return None if path is None else Vocabulary.read(path)


def _view_words(view: View, given: Mapping[str, Any]) -> dict[str, str]:
    words = {"view": view.kind.value}
    if view.kind is ViewKind.NATIVE:
        words["latin"] = given["latin"].value
    for name in ("vocabulary", "videos", "columns", "splits_of"):
        if given[name] is not None:
            words[name] = _file_words(given[name])
    if given["by_hint"]:
        words["by_hint"] = "yes"
    return words


def _file_words(path: Path) -> str:
    """A file by its name and content: with another content it is another export."""
    plan = path / PLAN if path.is_dir() else path
    return f"{path.name} ({sha256_of_file(plan)[:12]})" if plan.is_file() else path.name


def _sources(sources: Sequence[str]) -> str:
    """The sources of archives, by count and digest: paths of this machine are nobody else's business."""
    if not sources:
        return ""
    whole = sorted(url if is_url(url) else str(local_path(url)) for url in sources)
    digest = hashlib.sha256("\n".join(whole).encode()).hexdigest()
    return f"{len(sources)} folders or archives of results ({digest[:12]})"


def _file(path: Path | None, option: str) -> Path | None:
    if path is not None and not path.is_file():
        raise UsageError(f"{option} {path}: there is no such file")
    return path


def _earlier(path: Path | None) -> Path | None:
    if path is None:
        return None
    plan = path / PLAN if path.is_dir() else path
    return _file(plan, "--splits-of")
