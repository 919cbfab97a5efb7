"""The clips on which arms differ most, to listen to: a page of its own, since voices are heavy and personal."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from lipika.canary.measures import Disagreement, Measures
from lipika.canary.sample import SampledClip
from lipika.languages import LANGUAGES
from lipika.wording import percent

MOST_CLIPS = 24
MOST_BYTES = 4 << 20
"""Of audio, before it is written as text: a page of 6 MB at most."""


@dataclass(frozen=True, slots=True)
class PlayedClip:
    """A clip with its audio, and what arms wrote: (arm, share of letters that differ, text)."""

    language: str
    video_id: str
    segment_file: str
    baseline: str
    audio_format: str
    audio: bytes
    texts: list[tuple[str, float, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The audio as a `data:` address."""
        return f"data:audio/{self.audio_format};base64,{base64.b64encode(self.audio).decode()}"


def hear(measures: Measures, clips: Sequence[SampledClip]) -> list[PlayedClip]:
    """The clips of which texts differ most, those of all arms in turn, with their audio; reads files."""
    known = {(one.video_id, f"{one.clip.name.stem}.flac"): one for one in clips}
    heard: dict[tuple[str, str], PlayedClip] = {}
    room = MOST_BYTES
    for arm, one in _take_turns({one.arm: one.worst for one in measures.against}):
        key = (one.video_id, one.segment_file)
        if key not in heard:
            sampled = known[key]
            size = sampled.audio.stat().st_size
            if len(heard) == MOST_CLIPS or size > room:
                continue
            room -= size
            audio = sampled.audio.read_bytes()
            heard[key] = PlayedClip(one.language, *key, one.baseline, str(sampled.sent_format), audio)
        heard[key].texts.append((arm, one.cer, one.other))
    return list(heard.values())


def render_listening(run_id: str, heard: Sequence[PlayedClip]) -> str:
    """The page."""
    return _template().render(
        run_id=run_id,
        heard=heard,
        percent=percent,
        language_name=lambda code: LANGUAGES[code].name if code in LANGUAGES else code,
        direction=lambda code: "rtl" if code == "ur" else "ltr",
    )


def _take_turns(worst: Mapping[str, Sequence[Disagreement]]) -> Iterator[tuple[str, Disagreement]]:
    """The worst of each arm, then the next ones."""
    for place in range(max(map(len, worst.values()), default=0)):
        for arm, found in worst.items():
            if place < len(found):
                yield arm, found[place]


@cache
def _template() -> Template:
    text = resources.files("lipika.canary").joinpath("listen.html").read_text("utf-8")
    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(text)
