"""What an owner said of a segment (`lipika pack`) goes with its clips."""

from __future__ import annotations

import tarfile
from pathlib import Path

import orjson

from erasure_kit import STAYS_TEXT, VIDEO, of_both
from lipika.archive.documents import read_results
from lipika.erasure.archives import shrink_archive
from lipika.models import JsonObject
from lipika.storage import Store, StoreSettings
from lipika.storage.store import Place
from stored_kit import rewrite, write_archive

OWN_WORDS = "what somebody once wrote down"


def packed_of(tar: Path) -> JsonObject:
    with tarfile.open(tar) as archive:
        (name,) = (name for name in archive.getnames() if name.endswith("metadata.json"))
        file = archive.extractfile(name)
        assert file is not None
        packed: JsonObject = orjson.loads(file.read())["packed"]
        return packed


async def test_words_on_segments_go_with_their_clips_and_nobody_elses(tmp_path: Path) -> None:
    """By the names of files alone: nobody's own name stands in them."""
    clips = of_both()
    first, second, *others = clips
    path = tmp_path / "r.tar"
    write_archive(path, clips)

    def change(members: dict[str, bytes]) -> None:
        document = orjson.loads(members["metadata.json"])
        said = {
            clip.clip.segment.stem: {"id": f"utt {at}", "text": f"{STAYS_TEXT} {at}"}
            for at, clip in enumerate(others)
        }
        of_first = {"id": "utt first", "text": OWN_WORDS, "recording": "long one"}
        of_second = {"id": "utt second", "text": OWN_WORDS, "recording": "talk"}
        some = next(iter(said.values()))
        document["packed"] = {
            "source": "list.csv", "kind": "table",
            "recordings": {"long one": {"id": "long one", "columns": {"of": "one person"}}, "talk": {"id": "talk"}},
            "segments": {first.clip.segment.stem: of_first, second.clip.segment.stem: of_second, **said},
        }  # fmt: skip
        some["recording"] = "talk"
        members["metadata.json"] = orjson.dumps(document)

    rewrite(path, change)
    before = packed_of(path)
    place = Place(Store.open(str(tmp_path), StoreSettings()), path.name)
    gone = {f"{clip.clip.name.stem}.flac" for clip in (first, second)}
    for _ in range(2):  # again, it changes nothing
        await shrink_archive(place, VIDEO, gone, lambda _word: False, tmp_path)
        with path.open("rb") as file:
            assert len(list(read_results(file))) == len(others)
        packed = packed_of(path)
        assert packed["recordings"] == {"talk": {"id": "talk"}}
        assert packed["segments"] == {
            stem: said
            for stem, said in before["segments"].items()
            if stem not in {first.clip.segment.stem, second.clip.segment.stem}
        }
        assert OWN_WORDS.encode() not in path.read_bytes()
