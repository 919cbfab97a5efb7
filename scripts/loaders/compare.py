"""What a loader gave, held against what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loaders.truth import Clip


@dataclass
class Result:
    """How a check went. `wrong` are sentences; `not_run` is why it could not be."""

    expected: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    clips: int = 0
    compared: int = 0  # of them by samples or by bytes
    wrong: list[str] = field(default_factory=list)
    not_run: str = ""

    def compare(self, lines: Sequence[Mapping[str, object]], truth: Mapping[str, Clip]) -> None:
        """Every clip must be there once, with the same text, and the same samples or bytes where those were given."""
        seen = set[str]()
        for line in lines:
            name = str(line["id"])
            clip = truth.get(name)
            if clip is None or name in seen:
                self.wrong.append(f"{name}: {'given twice' if clip else 'no such clip'}")
                continue
            seen.add(name)
            self._compare_clip(name, line, clip)
        self.clips = len(seen)
        self.wrong += [f"{name}: not given" for name in sorted(truth.keys() - seen)]

    def _compare_clip(self, name: str, line: Mapping[str, object], clip: Clip) -> None:
        stated: dict[str, object] = {"text": clip.text}
        if "samples" in line:
            stated |= {"frames": clip.frames, "samples": clip.samples or line["samples"]}
        if "content" in line:
            stated["content"] = clip.content
        if len(stated) > 1:
            self.compared += 1
            if line["rate"]:
                stated["rate"] = clip.rate
        differing = [what for what, value in stated.items() if line[what] != value]
        if differing:
            self.wrong.append(f"{name}: other {', '.join(differing)}")

    @property
    def verdict(self) -> str:
        if self.not_run:
            return f"not run: {self.not_run}"
        return f"{len(self.wrong)} wrong: {'; '.join(self.wrong[:3])}" if self.wrong else "equal"
