"""Erasures in a bucket, and in exports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from erasure_kit import (
    GONE,
    GONE_TEXT,
    OPTIONS,
    SPEAKER,
    STAYS,
    VIDEO,
    WHOLE,
    done_video,
    in_files,
    of_both,
    put_rows,
)
from export_kit import SENTENCES, export_here, results, write_results
from lipika.archive.documents import clip_result_to_json
from lipika.config import load_settings
from lipika.db import Database, Queue, Results
from lipika.db.erasures import WantedName
from lipika.erasure.course import Eraser, ErasureOptions
from lipika.jobs.erase import PlacesOfSettings
from lipika.models import Accounting, NewVideo
from lipika.storage import Store, StoreSettings
from result_kit import table
from s3_kit import call, s3_server


@pytest.fixture
def s3() -> Iterator[str]:
    with s3_server() as url:
        call(f"{url}/corpus", "PUT")
        yield url


async def test_a_bucket_holds_nothing_of_them_nor_an_upload_that_was_never_completed(
    database: Database, database_url: str, s3: str, tmp_path: Path
) -> None:
    path = await done_video(database, tmp_path)
    root = f"s3://corpus/{tmp_path.name}"  # other tests have objects of their own beside it
    put_rows(
        database_url,
        "update video_queue set output_key = 'out/r.tar', source_key = %(source)s",
        source=f"{root}/in/v.tar",
    )
    store = Store.open(root, StoreSettings("id", "secret", endpoint_url=s3))
    await store.put_bytes("out/r.tar", path.read_bytes())
    await store.put_bytes("in/v.tar", b"the input of " + VIDEO.encode())
    await store.put_bytes("out/partials/r.tar/a.jsonl", b"".join(map(clip_result_to_json, of_both())))
    await store.put_bytes("out/other.tar", b"of somebody else")
    await asyncio.to_thread(call, f"{s3}/corpus/{tmp_path.name}/out/r.tar?uploads", "POST")
    settings = load_settings(
        database_url=database_url, output_url=root, s3_endpoint_url=s3, r2_access_key_id="id",
        r2_secret_access_key="secret",
    )  # fmt: skip
    work = Eraser(database, PlacesOfSettings(settings))

    async def objects() -> dict[str, bytes]:
        return {entry.key: await store.get_bytes(entry.key) async for entry in store.list()}

    done = await work.erase(SPEAKER, "Mira", OPTIONS)
    assert done.certificate["removed"]["open_uploads"] == {"found": 1, "left": 0}
    held = await objects()
    assert not [key for key, body in held.items() if GONE.encode() in body or GONE_TEXT.encode() in body]
    assert STAYS.encode() in held["out/partials/r.tar/a.jsonl"]
    assert STAYS.encode() in held["out/r.tar"]
    assert await store.open_uploads() == []
    await work.erase(WHOLE, "Mira", ErasureOptions(inputs=True))
    assert await objects() == {"out/other.tar": b"of somebody else"}


async def exported(database: Database, folder: Path, video: int) -> list[str]:
    """A done video with audio that can be exported; the texts of its speaker1."""
    found = list(results(video, 5))
    video_id = found[0][0].video_id
    path = write_results(folder / f"{video_id}_transcribed.tar", found)
    await Queue(database).add([NewVideo(video_id, "in.tar", str(path), "hi")])
    (claim,) = await Queue(database).claim("w1", 600, 1, only=[video_id])
    await Results(database).write(claim, [one for one, _ in found])
    accounting = Accounting(5, 5, 0, 0, 5, 5, 0, 0)
    await Queue(database).finish(claim, accounting, output_bytes=path.stat().st_size, output_digest="d")
    return [SENTENCES["hi"].format(n) for n in range(5) if n % 2 == 1]


async def test_an_export_with_such_clips_goes_or_is_refused_until_it_is_made_anew(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    texts = await exported(database, tmp_path, 0)
    dest = tmp_path / "dataset"

    async def export(*more: str) -> Result:
        order = ("webdataset", dest, "--lane", "any", "--min-seconds", "1", *more)
        return await asyncio.to_thread(export_here, *order, env={"DATABASE_URL": database_url})

    made = await export()
    assert made.exit_code == 0, made.output
    assert in_files(dest, *texts) != []
    work = Eraser(
        database, PlacesOfSettings(load_settings(database_url=database_url, output_url=str(tmp_path)))
    )
    first = [WantedName(video_id="video.0", speaker="speaker1")]
    keep = ErasureOptions(keep_exports=True)
    (hit,) = (await work.look(first, keep)).scope.exports
    assert (hit["clips"], hit["dest"]) == (2, str(dest))
    assert hit["shards"][0].startswith("hi/train shard ")
    assert hit["command"].startswith(f"lipika export webdataset {dest}")
    await work.erase(first, "Mira", keep)
    (row,) = table(database_url, "select state, error from datasets")
    assert (row["state"], "make it anew" in str(row["error"])) == ("failed", True)
    assert in_files(dest, *texts) != []
    refused = await export()
    assert refused.exit_code == 2
    assert "have been erased since" in " ".join(refused.output.split())
    again = await export("--again")
    assert again.exit_code == 0, again.output
    assert in_files(dest, *texts) == []
    start = SENTENCES["hi"].format(0)
    assert in_files(dest, start) != []
    file = "speaker0_00000_00300.flac"
    clip = WantedName(video_id="video.0", speaker="speaker0", segment_file=file, start_ms=0, end_ms=3_000)
    await work.erase([clip], "Mira", OPTIONS)
    assert [path for path in dest.rglob("*") if path.is_file()] == []
    assert in_files(tmp_path, start) == []
