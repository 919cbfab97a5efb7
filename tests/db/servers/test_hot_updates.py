"""What a fleet updates all the time stays in its page: no index names what changes, and each row has room beside it.

An update that is not heap-only writes every index of its table. One column in the predicate of one index does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fleet_kit import rows
from lipika.db import Database, Queue, Results, Workers
from lipika.db.reservations import Demand, Reservations
from lipika.db.workers import WorkerInfo, WorkerStats
from lipika.models import Accounting, NewVideo
from result_kit import report, result

ROUNDS = 30
NAMED_BY_AN_INDEX: Mapping[str, set[str]] = {
    # A video changes its status four times: waiting, claimed, at work, ended. All else that changes is in no index.
    "video_queue": {
        *(
            "video_id",
            "status",
            "held",
            "priority",
            "arrival",
            "claimed_by",
            "error_code",
            "source_key",
            "output_key",
        ),
        "nothing_left",
    },
    "workers": {"worker_id"},
    "worker_minutes": {"minute", "worker_id"},
    "provider_budgets": {"provider", "project"},
    "provider_spend": {"provider", "project", "worker_id", "day"},
    "quality_rollup": {"hour", "language", "worker_id"},
    "queue_counts": {"language", "state", "reason", "shard"},
    "clip_counts": {"language", "kind", "key", "shard"},
    "flag_counts": {"language", "flag_type", "severity", "resolved", "shard"},
    "token_counts": {
        *("language", "model_id", "schema_version", "thinking_level", "made_up"),
        "shard",
    },
    "batch_hours": {"hour", "provider", "shard"},
    "batch_minutes": {"minute", "provider", "shard"},
}


async def test_no_index_names_what_changes_all_the_time(database_url: str) -> None:
    """As a key, in an expression or in a predicate."""
    named = rows(
        database_url,
        """
        select i.indrelid::regclass::text as name, array_agg(distinct a.attname::text) as columns
        from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum > 0
        where i.indrelid::regclass::text = any(%s) and (
          a.attnum = any(i.indkey) or exists (
            select from pg_depend d
            where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
              and d.refclassid = 'pg_class'::regclass and d.refobjid = i.indrelid and d.refobjsubid = a.attnum
          )
        )
        group by 1
        """,
        list(NAMED_BY_AN_INDEX),
    )
    assert {row.name: set(row.columns) for row in named} == NAMED_BY_AN_INDEX


async def test_a_workers_updates_are_heap_only(database_url: str) -> None:
    async with Database(database_url, max_size=1) as database:  # what one connection did is known at once
        await _work(database)
        async with database.connection() as connection:
            await connection.execute("select pg_stat_force_next_flush()")
    told = rows(
        database_url, "select relname, n_tup_upd as all, n_tup_hot_upd as hot from pg_stat_user_tables"
    )
    updates = {row.relname: row.all for row in told}
    for name in NAMED_BY_AN_INDEX.keys() - {"flag_counts"}:
        assert updates[name] > ROUNDS / 2, name  # a new hour or minute has a row of its own
    cold = {row.relname: row.all - row.hot for row in told if row.all > row.hot}
    assert cold == {"video_queue": 2}  # claim and start: its status is what the queue is sorted by


async def _work(database: Database) -> None:
    """One video's life but for its end, with everything that a worker says meanwhile."""
    queue, workers, results, ledger = (
        Queue(database),
        Workers(database),
        Results(database),
        Reservations(database),
    )
    await queue.add([NewVideo("v", "in.tar", "out.tar")])
    await workers.register(WorkerInfo("w1", "host", "aistudio", None, {}))
    (claim,) = await queue.claim("w1", 60, 1)
    await queue.start(claim)
    await queue.record_language(claim, "hi")
    for done in range(ROUNDS):
        await queue.extend([claim], 60)
        await queue.progress(claim, Accounting(segments=99, clips=99, transcribed=done))
        one = result(done)
        answered = replace(one, provenance=replace(one.provenance, attempts=1))
        await results.write(claim, [answered])
        await results.write_batch(report(batch_id=f"b{done}"))
        await workers.heartbeat("w1", WorkerStats("aistudio", segments_sent=done))
        await workers.live("w1", active_rpm=done, active_tpm=done, requests_in_flight=done)
        await ledger.reserve("w1", Demand("aistudio", 1, 600.0, 0.01, 0.0, 0.0, done / 100, 0.0))
    await workers.record_error("w1", "v", "ValueError", "x", "")
    await workers.offline("w1")
