"""Verification of a dataset in a bucket: the same findings as in a folder, by several processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dataset_kit import Folder, utterance, write_shard
from lipika.dataset.formats import FORMATS
from lipika.dataset.hashing import SUMS
from lipika.dataset.model import Shard
from lipika.dataset.verify import verify
from lipika.storage import Store, StoreSettings
from s3_kit import call, s3_server


async def test_a_dataset_in_a_bucket(tmp_path: Path) -> None:
    """The first shard is damaged, the second whole; sums are held against what the bucket gives."""
    chosen = FORMATS["shar"]
    for number in range(2):
        clips = [utterance(3 * number + at, 0.2) for at in range(3)]
        write_shard(chosen, clips, tmp_path, Shard("hi", "train", number, 2))
    paths = Folder(tmp_path).paths()
    sums = [f"{hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()}  {path}" for path in paths]
    tar = tmp_path / "hi/train/recording.000000.tar"
    tar.write_bytes(tar.read_bytes()[:9_000])
    with s3_server() as url:
        call(f"{url}/corpus", "PUT")
        settings = StoreSettings("id", "secret", endpoint_url=url, read_bytes=4_096)
        store = Store.open("s3://corpus/my/data", settings)
        for path in paths:
            await store.put_bytes(path, (tmp_path / path).read_bytes())
        await store.put_bytes(SUMS, "\n".join(sums).encode())
        there = {info.key: info.size async for info in store.list()}
        read = list[tuple[int, int]]()
        found = await verify(
            store, settings, there, None, processes=2, advance=lambda clips, size: read.append((clips, size))
        )
    place = "hi/train/recording.000000.tar"
    assert [defect.code for defect in found.defects if defect.place == place] == ["truncated", "checksum"]
    assert set(found.counts) == {"truncated", "checksum", "missing_audio"}
    assert found.clips == sum(clips for clips, _ in read)
    assert found.clips + found.counts["missing_audio"] == 6
    assert sum(size for _, size in read) == sum(there.values()) - there[SUMS]
