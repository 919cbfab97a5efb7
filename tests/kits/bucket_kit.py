"""A queue whose results go to a bucket."""

from __future__ import annotations

from fleet_kit import Stage
from lipika.db import Database, Queue
from lipika.models import NewVideo
from lipika.storage import Store, StoreSettings
from strict_s3 import StrictS3

BUCKET = "corpus"
CLIPS = 36  # of the whole queue


async def to_s3(stage: Stage, s3: StrictS3, videos: int) -> None:
    """Archives in the bucket, and results to go there too."""
    await stage.queue(videos, CLIPS // videos)
    stage.defaults |= {
        "store_url": f"{own_place(stage)}/in",
        "output_url": f"{own_place(stage)}/out",
        "s3_endpoint_url": s3.url,
        "r2_access_key_id": "id",
        "r2_secret_access_key": "secret",
    }
    store = Store.open(f"{own_place(stage)}/in", settings_of(s3))
    archives = sorted((stage.folder / "in").glob("*.tar"))
    for path in archives:
        await store.put_bytes(path.name, path.read_bytes())
    async with Database(stage.database_url) as database:
        queue = Queue(database)
        await queue.remove([path.stem for path in archives])
        await queue.add([NewVideo(path.stem, path.name, f"{path.stem}_transcribed.tar") for path in archives])


def settings_of(s3: StrictS3) -> StoreSettings:
    return StoreSettings("id", "secret", endpoint_url=s3.url)


def own_place(stage: Stage) -> str:
    """A prefix of this test's own: the bucket outlives a test, and with it what an outage left there."""
    return f"s3://{BUCKET}/{stage.folder.name}"
