"""The main job over recordings from elsewhere, judged by other decoders.

    python tests/world/recordings.py FOLDER

Every audio file below the folder is one segment; ten make a video. The simulator answers. Prints how many segments
became clips or were discarded and why, then what the judges have against any clip; exit status 1 if there is any.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from world_audio import Right, Sound
from world_judges import problems_of, read_result, stem_of, write_video
from world_kit import run

SUFFIXES = {".flac", ".wav", ".mp3", ".ogg", ".oga", ".opus"}


def main(folder: Path) -> int:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    print(f"{len(files)} files")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        work.chmod(0o755)
        (work / "in").mkdir()
        (work / "judged").mkdir()
        videos: dict[str, dict[str, Sound]] = {}
        for first in range(0, len(files), 10):
            some = files[first : first + 10]
            sounds = [Sound(file.name, file.read_bytes(), 5.0, Right.EITHER) for file in some]
            video = f"v{first:05d}"
            videos[video] = {stem_of(place, sound): sound for place, sound in enumerate(sounds)}
            segments = {stem: sound.data for stem, sound in videos[video].items()}
            write_video(work / "in" / f"{video}.tar", segments)
        ended = run(work / "in", work / "out", "", PROVIDER="simulator", LIPIKA_DATA_DIR=str(work / "data"))
        print(f"exit {ended.code}: {ended.summary['segments']} segments, {ended.summary['clips']} clips")
        problems: list[str] = []
        reasons: Counter[str] = Counter()
        for video, sounds_of in videos.items():
            result = work / "out" / f"{video}_transcribed.tar"
            if not result.exists():
                problems.append(f"{video} has no result: {ended.summary['errors']}")
                continue
            metadata, _ = read_result(result)
            for discard in metadata["transcription"]["discards"]:
                reasons[discard["reason"]] += 1
                named = sounds_of.get(Path(discard["segment_file"]).stem)
                print(f"  {discard['reason']}: {named.what if named else ''}: {discard['message']}")
            problems += problems_of(work / "out", video, sounds_of, work / "judged")
    print(f"discards: {dict(reasons)}")
    print("\n".join(problems) or "the judges have nothing against any clip")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
