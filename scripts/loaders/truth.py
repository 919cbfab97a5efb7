"""What a loader has to give: decoded from the result archives, which no export has touched."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import soundfile

from loaders.readers.heard import digest_of

SUFFIX = "_transcribed.tar"


@dataclass(frozen=True)
class Clip:
    """One clip of a result archive. `samples` and `content` are SHA-256: of its samples, of its file.

    `samples` is "" where a format cannot hold them: WAV has 16 bits.
    """

    text: str
    rate: int  # Hz
    frames: int
    samples: str
    content: str
    bits: int


def clips_of(results: Path) -> dict[tuple[str, str], Clip]:
    """(video, clip) -> audio, of every archive in a folder."""
    found = {}
    for path in sorted(results.glob(f"*{SUFFIX}")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if member.name.startswith("segments/") and file is not None:
                    content = file.read()
                    samples, rate = soundfile.read(io.BytesIO(content), dtype="int32")
                    digests = digest_of(samples), hashlib.sha256(content).hexdigest()
                    bits = int(soundfile.info(io.BytesIO(content)).subtype.removeprefix("PCM_"))
                    key = path.name.removesuffix(SUFFIX), Path(member.name).stem
                    found[key] = Clip("", rate, len(samples), *digests, bits)
    return found


def planned(export: Path, clips: dict[tuple[str, str], Clip], *, most_bits: int) -> dict[str, Clip]:
    """Id -> clip, as the export's plan has them."""
    rows = pq.read_table(export / "plan.parquet", columns=["id", "video_id", "clip", "text"]).to_pylist()
    found = {}
    for row in rows:
        clip = clips[row["video_id"], row["clip"]]
        samples = clip.samples if clip.bits <= most_bits else ""
        found[row["id"]] = replace(clip, text=row["text"], samples=samples)
    dropped = pq.read_table(export / "dropped.parquet", columns=["video_id", "clip"]).to_pylist()
    said = [(row["video_id"], row["clip"]) for row in (*rows, *dropped)]
    if len(found) != len(rows) or len(said) != len(clips) or set(said) != clips.keys():
        counts = f"{len(rows)} clips planned, under {len(found)} ids, and {len(dropped)} dropped"
        raise SystemExit(f"{export}: {counts}; the archives hold {len(clips)}")
    return found
