"""People edit while workers write and are killed: no edit is lost, none is overwritten, the counters are right."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edits_kit import answered, claimed, failed, judged, miscounted, row
from lipika.db import Database, Queue, Results
from lipika.db.queries import Query
from lipika.errors import UsageError
from lipika.people.edits import Conflict, Edits, Saved
from lipika.people.rules import accept, call_unusable, edit_text, find_standing
from result_kit import sums_from_scratch, sums_of_rollup, table
from stored_kit import made

CLIPS = 12
WRITER = """
import asyncio, random, sys
from lipika.db import Database, Results
from lipika.models import ClaimedVideo
from edits_kit import answered, failed, judged

async def main():
    url, token, seed = sys.argv[1:4]
    chance = random.Random(int(seed))
    claim = ClaimedVideo("v", token, "v.tar", "v_transcribed.tar", "hi", 1)
    async with Database(url, max_size=1) as database:
        for turn in range(100_000):
            clips = chance.sample(range(12), 5)
            batch = f"{seed}-{turn}"
            await Results(database).write(claim, [
                failed(n) if chance.random() < 0.1
                else judged(answered(n, f"मॉडल ने कहा {turn} और {n}", batch, model_id=f"m{chance.randrange(3)}"))
                for n in clips
            ])
            print(turn, flush=True)

asyncio.run(main())
"""


Act = Callable[[], Awaitable[Saved | Conflict]]


def file_of(number: int) -> str:
    return made(number).segment_file


async def person(edits: Edits, name: str, chance: random.Random, saved: dict[int, str]) -> None:
    """Correct, condemn and take back, as it comes; what was told to be saved is noted."""
    for turn in range(25):
        file = file_of(chance.randrange(CLIPS))
        looked_at = (await edits.clip("v", file)).version
        text = f"{name} ने सुना {turn}"
        acts: list[Act] = [
            lambda f=file, t=text, v=looked_at: edits.save_edit("v", f, v, edit_text(t), name),  # type: ignore[misc]
            lambda f=file, t=text, v=looked_at: edits.save_edit("v", f, v, edit_text(t), name),  # type: ignore[misc]
            lambda f=file, v=looked_at: edits.save_edit("v", f, v, call_unusable("noise"), name),  # type: ignore[misc]
            lambda f=file, v=looked_at: edits.undo("v", f, name, expected=v),  # type: ignore[misc]
        ]
        try:
            outcome = await chance.choice(acts)()
        except UsageError:  # nothing to undo
            continue
        if isinstance(outcome, Saved):
            saved[outcome.edit_id] = name
        await asyncio.sleep(chance.random() / 100)


async def test_people_and_workers_that_are_killed(database: Database, database_url: str) -> None:
    claim = await claimed(database)
    await Results(database).write(claim, [judged(made(number)) for number in range(CLIPS)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    saved: dict[int, str] = {}
    edits = Edits(database)
    people = [
        asyncio.create_task(person(edits, name, random.Random(name), saved)) for name in ("Asha", "Ravi")
    ]
    seed = 0
    while not all(one.done() for one in people):
        seed += 1
        worker = subprocess.Popen(  # noqa: ASYNC220 - it is to be killed
            [sys.executable, "-c", WRITER, database_url, claim.claim_token, str(seed)],
            env=environment,
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        for _ in range(3):
            assert await asyncio.to_thread(worker.stdout.readline)
        await asyncio.sleep(0.1)
        worker.send_signal(signal.SIGKILL)
        await asyncio.to_thread(worker.communicate)
    await asyncio.gather(*people)
    kept = {one["id"]: one["edited_by"] for one in table(database_url, "select * from transcription_edits")}
    assert saved.items() <= kept.items()
    assert saved
    for number in range(CLIPS):
        file = file_of(number)
        stands = find_standing(await edits.history("v", file))
        found = row(database_url, file)
        assert (found["text_source"] == "person") == (stands is not None), file
        if stands is not None:
            assert found["transcription"] == stands.transcription
    assert miscounted(database_url) == {}
    filed = table(database_url, "select answer ->> 'transcription' as text from transcription_answers")
    assert not [one for one in filed if "ने सुना" in str(one["text"])]


EMPTY = Query(
    "empty",
    b"truncate video_queue, transcription_results, transcription_flags, transcription_voters, transcription_edits,"
    b" edited_clips, quality_rollup",
)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["text", "accept", "unusable", "undo", "redo", "answer", "fail", "remove"]),
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    max_size=14,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(ACTS)
def test_whatever_is_done_the_counters_are_what_a_count_comes_to(
    database_url: str, acts: list[tuple[str, int, int]]
) -> None:
    asyncio.run(_act(database_url, acts))
    assert miscounted(database_url) == {}
    assert sums_of_rollup(database_url) == sums_from_scratch(database_url)


async def _act(url: str, acts: list[tuple[str, int, int]]) -> None:
    async with Database(url, max_size=1) as database:
        await database.execute(EMPTY, {})
        claim = await claimed(database)
        await Results(database).write(claim, [judged(made(0)), judged(made(1)), failed(2)])
        edits = Edits(database)
        for number, (act, clip, choice) in enumerate(acts):
            file = file_of(clip)
            language = ("", "mr", "ur", "other")[choice]
            try:
                if act == "text":
                    text = ("NO_SPEECH", "एक [laugh] दो", "यह [UNK] है", "আজ আবহাওয়া")[choice]
                    await edits.save_edit("v", file, None, edit_text(text, language=language), "Asha")
                elif act == "accept":
                    await edits.save_edit("v", file, None, accept(), "Asha")
                elif act == "unusable":
                    await edits.save_edit("v", file, None, call_unusable("noise"), "Ravi")
                elif act == "undo":
                    await edits.undo("v", file, "Ravi")
                elif act == "redo":
                    await edits.redo("v", file, "Ravi")
                elif act == "remove":
                    await Results(database).remove(claim, [file])
                else:
                    batch = f"b{number}"
                    new = judged(answered(clip, "नया उत्तर आया", batch)) if act == "answer" else failed(clip)
                    asked = replace(new.provenance, batch_id=batch)
                    await Results(database).write(claim, [replace(new, provenance=asked)])
            except UsageError:
                continue
        await Queue(database).release(claim)
