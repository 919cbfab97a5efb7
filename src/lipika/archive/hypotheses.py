"""A folder of texts from elsewhere, such as another recogniser's: which clip each is for.

Two forms, side by side if one likes: `VIDEO/CLIP.txt`, a text file for each clip, or manifests `*.jsonl` and `*.json`
of a line for each clip, as NeMo and its like write them: the text is `pred_text` or else `text`, the clip
`audio_filepath` (its last two parts: video, file) or `video_id` and `segment_file`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import orjson

from lipika.errors import UsageError
from lipika.models import Voter, VoterKind

_LARGEST_BYTES = 1 << 20  # of one clip's text


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Texts of clips by one voter. `texts` are those of manifests and tables, by video and file name without ending;
    `by_audio` those that name a clip by the digest of its audio. A `folder` may hold more, a file for each clip.
    """

    folder: Path | None
    name: str
    texts: Mapping[tuple[str, str], str]
    by_audio: Mapping[str, str] = field(default_factory=dict)
    kind: VoterKind = VoterKind.HYPOTHESES

    def voter(self, video_id: str, stem: str, audio_digest: str = "") -> Voter | None:
        """The voter's word on a clip; None where it has none.

        Raises:
            UsageError: the clip's file is no text.
        """
        text = self.by_audio.get(audio_digest)
        if text is None:
            text = self.texts.get((video_id, stem))
        if text is None and self.folder is not None:
            text = _read_text(self.folder, video_id, stem)
        return None if text is None else Voter(self.name, self.kind, text, self.digest)

    @property
    def digest(self) -> str:
        """That of the name: whatever the folder of that name says is one voice, and a person is none of them."""
        kind = "" if self.kind is VoterKind.HYPOTHESES else f"{self.kind} "
        return hashlib.sha256(f"{kind}{self.name}".encode()).hexdigest()[:16]


def open_hypotheses(folder: Path, option: str = "--hypotheses") -> Hypotheses:
    """The folder with its manifests read. Its name is the voter's; `option` names it in errors.

    Raises:
        UsageError: there is no such folder, nothing in it has one of the two forms, or a manifest cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{option} {folder}: there is no such folder")
    manifests = sorted([*folder.glob("*.jsonl"), *folder.glob("*.json")])
    if not manifests and not any(folder.glob("*/*.txt")):
        raise UsageError(
            f"{option} {folder}: it holds neither VIDEO/CLIP.txt nor a manifest (*.jsonl, *.json)"
        )
    texts = {key: text for manifest in manifests for key, text in _read_manifest(manifest)}
    return Hypotheses(folder, folder.resolve().name, texts)


def _read_text(folder: Path, video_id: str, stem: str) -> str | None:
    path = folder / video_id / f"{stem}.txt"
    if folder.resolve() not in path.resolve().parents:  # a video's name is anybody's
        return None
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES).decode("utf-8-sig").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: it cannot be read as UTF-8 text: {error}") from None


def _read_manifest(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
                text = row.get("pred_text", row.get("text"))
                video, clip = clip_of(row)
            except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError, ValueError) as error:
                raise UsageError(
                    f"{path}, line {number}: it is no JSON object with a text and a clip ({error!r}): a line has"
                    " pred_text or text, and audio_filepath or video_id and segment_file"
                ) from None
            if isinstance(text, str):
                yield (video, clip), text.strip()


def clip_of(row: Mapping[str, str]) -> tuple[str, str]:
    """The video and the clip's file name without its ending."""
    if "segment_file" in row:
        return str(row["video_id"]), PurePosixPath(row["segment_file"]).stem
    path = PurePosixPath(row["audio_filepath"])
    return path.parent.name, path.stem
