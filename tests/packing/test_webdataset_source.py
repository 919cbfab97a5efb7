"""WebDataset's shards, by its own writer and as they are met."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus_kit import bytes_at, sound, taken, tar
from lipika.packing.sources.webdataset import WebDatasetSource, is_shard

webdataset = pytest.importorskip("webdataset")


def test_shards_of_the_librarys_own_writer(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "hi-train-%06d.tar"), maxcount=2, verbose=0) as writer:
        for at in range(5):
            words = {"text": f"वाक्य {at}", "lang": "hi", "speaker": f"s{at % 2}", "snr": at / 2}
            writer.write({"__key__": f"clip{at}", "wav": sound(at), "json": words})
    assert is_shard(tmp_path / "hi-train-000000.tar")
    items, refused = taken(WebDatasetSource(str(tmp_path)))
    assert (list(items), refused) == ([f"clip{at}" for at in range(5)], [])
    for at, item in enumerate(items.values()):
        assert bytes_at(item.audio) == sound(at)
        assert (item.text, item.language, item.speaker) == (f"वाक्य {at}", "hi", f"s{at % 2}")
        assert (item.split, item.group) == ("train", f"hi-train-{at // 2:06d}.tar")
        assert item.columns == {"snr": at / 2}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_dots_in_keys_several_words_and_strays(tmp_path: Path, name: str) -> None:
    path = tar(
        tmp_path / name,
        {
            "./d/v.1_0001.wav": sound(1),
            "./d/v.1_0001.json": b'{"text": "a"}',
            "./d/v.1_0002.json": b'{"text": "b", "offset": 7.5, "duration": 1.0}',
            "./d/v.1_0002.wav": sound(2),
            "./d/._v.1_0002.wav": b"junk",
            "000.meta.json": b'{"speaker": "s"}',
            "000.normalized.txt": b"norm",
            "000.txt": b"c\n",
            "000.cls": b"4",
            "000.audio.flac": sound(3, kind="FLAC"),
            "bad.mp3": b"",
            "bad.json": b"{",
            "stray.json": b"{}",
            "stereo.left.wav": sound(4),
            "stereo.right.wav": sound(5),
            "stereo.txt": b"both",
        },
    )
    items, refused = taken(WebDatasetSource(str(path)))
    assert list(items) == ["d/v.1_0001", "d/v.1_0002", "000.audio", "stereo.left", "stereo.right"]
    one, two, three, left, right = items.values()
    assert [bytes_at(item.audio) for item in (one, two, left, right)] == [sound(at) for at in (1, 2, 4, 5)]
    assert (one.text, two.text, left.text, right.text) == ("a", "b", None, "both")
    assert (two.start, two.end) == (0.0, None)  # where it came from, and no stretch of this
    assert two.columns == {"offset": 7.5, "duration": 1.0}
    assert (three.text, three.speaker) == ("c", "s")
    assert three.columns == {"normalized": "norm", "cls": "4"}
    assert sorted(reason for _, reason in refused) == ["bad_row", "labels_without_audio"]
