"""lhotse's own `SharWriter` on clips of a result archive: CPU milliseconds a clip. Knows nothing of lipika.

PYTHON benchmarks/lhotse_writer.py ARCHIVE FOLDER CLIPS, in an environment with lhotse
"""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path

import lhotse
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.shar import SharWriter


def main() -> None:
    archive, out, clips = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with tarfile.open(archive) as tar:
        files = [tar.extractfile(member) for member in tar if member.name.endswith(".flac")]
        audio = [file.read() for file in files if file is not None]
    cuts = [_cut(f"clip-{number}", audio[number % len(audio)]) for number in range(clips)]
    with SharWriter(str(out), fields={"recording": "flac"}, shard_size=1000) as writer:
        writer.write(cuts[0])  # what the first one loads is not counted
        started = time.process_time()
        for cut in cuts[1:]:
            writer.write(cut)
    used = time.process_time() - started
    print(json.dumps({"version": lhotse.__version__, "ms": used / (clips - 1) * 1000}))


def _cut(name: str, flac: bytes) -> MonoCut:
    recording = Recording.from_bytes(flac, name)
    length = recording.duration
    said = SupervisionSegment(id=name, recording_id=name, start=0.0, duration=length, text="made up")
    return MonoCut(id=name, start=0.0, duration=length, channel=0, recording=recording, supervisions=[said])


if __name__ == "__main__":
    main()
