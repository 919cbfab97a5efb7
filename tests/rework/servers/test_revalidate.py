"""Judging stored answers again: a real run's archives and rows, aged by hand, come out as a run writes them today."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from benchmarks.speech_corpus import CorpusPlan, make_corpus
from lipika.archive.documents import read_results
from lipika.archive.results import _root_and_key
from lipika.audio import polish
from lipika.db import Database, Queue
from lipika.db.queries import load
from lipika.db.stored import Stored, StoredClip
from lipika.errors import UsageError
from lipika.jobs.demo import sample_folder
from lipika.llm import prompt, transcript
from lipika.models import ClipResult, Severity, Verdict
from lipika.rework import revalidate
from lipika.storage import Store, StoreSettings
from lipika.validation import RULES, VALIDATOR_VERSION
from lipika.validation.again import JudgedAnswer, judge_again
from lipika.validation.catalogue import ScorePart
from lipika.validation.compare import ComparedVerdict
from postgres_kit import TEMPLATE, fresh_database
from result_kit import sums_from_scratch, sums_of_rollup, table
from s3_kit import call
from stored_kit import age, command, documents, made, members, metadata, rewrite, told, write_archive
from verdict_kit import clip

# ----------------------------------------------------------------------------- a real run, once


@dataclass(frozen=True)
class Finished:
    """A run that is over: its result archives, and the name of its database."""

    folder: Path
    database: str


@pytest.fixture(scope="module")
def finished(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("finished")
    make_corpus(folder / "in", CorpusPlan(videos=4, segments=8, seconds=(1.5, 4.0)), sample_folder())
    for url in fresh_database(postgres_url, TEMPLATE):
        done = subprocess.run(
            [sys.executable, "-m", "lipika", "run", folder / "in", "--out", folder / "out", "--quiet"],
            env={
                **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR"}},
                "DATABASE_URL": url,
                "PROVIDER": "simulator",
                "BATCH_INTERVAL_SECONDS": "2",
                "LIVE_SECONDS": "0.5",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        yield Finished(folder / "out", url.rpartition("/")[2])


@pytest.fixture
def out(finished: Finished, tmp_path: Path) -> Path:
    """The run's archives, to be changed."""
    return Path(shutil.copytree(finished.folder, tmp_path / "out"))


@pytest.fixture
def stored_url(finished: Finished, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The run's database, to be changed; the commands use it."""
    for url in fresh_database(postgres_url, finished.database):
        monkeypatch.setenv("DATABASE_URL", url)
        yield url


def tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def execute(url: str, *queries: str) -> None:
    with psycopg.connect(url) as connection:
        for query in queries:
            connection.execute(query.encode())


# ----------------------------------------------------------------------------- versions on every row


def test_every_row_and_document_carries_the_four_versions(finished: Finished, stored_url: str) -> None:
    versions = {
        "prompt_version": prompt.PROMPT_VERSION,
        "schema_version": transcript.SCHEMA_VERSION,
        "trimmer_version": polish.TRIMMER_VERSION,
        "validator_version": VALIDATOR_VERSION,
    }
    found = table(
        stored_url,
        "select distinct prompt_version, schema_version, trimmer_version, validator_version"
        " from transcription_results",
    )
    assert found == [versions]
    for tar in tars(finished.folder):
        for document in documents(tar):
            assert {
                **{name: document["provenance"][name] for name in ("prompt_version", "schema_version")},
                "trimmer_version": document["trim"]["trimmer_version"],
                "validator_version": document["checks"]["validator_version"],
            } == versions
        counted = metadata(tar)["transcription"]["versions"]
        for kind in ("prompt", "schema", "trimmer", "validator"):
            assert list(counted[kind]) == [versions[f"{kind}_version"]]


# ----------------------------------------------------------------------------- archives


def test_an_aged_archive_comes_out_as_a_run_writes_it_byte_by_byte(finished: Finished, out: Path) -> None:
    for tar in tars(out)[1:]:
        age(tar)
    figures = told("revalidate", str(out), "--jobs", "1")["archives"]
    assert (figures["units"], figures["current"], figures["rewritten"]) == (4, 1, 3)
    assert [tar.read_bytes() for tar in tars(out)] == [tar.read_bytes() for tar in tars(finished.folder)]


def test_the_table_tells_old_from_new(out: Path) -> None:
    for tar in tars(out):
        age(tar)
    judged = [document for tar in tars(out) for document in documents(tar) if document["lanes"]]
    figures = told("revalidate", str(out), "--jobs", "1")["archives"]
    now = [document for tar in tars(out) for document in documents(tar) if document["lanes"]]
    opened = sum(document["lanes"]["tts_clean"]["eligible"] for document in now)
    assert 0 < opened < len(judged)
    assert figures["clips"] == len(judged)
    assert figures["lanes"]["tts_clean"] == {
        "stays_open": 0,
        "closes": 0,
        "opens": opened,
        "stays_closed": len(judged) - opened,
    }
    assert sum(figures["score_deciles"][2]) == len(judged)  # all had 0.25
    assert figures["score_deciles"][2][9] == sum(document["quality_score"] >= 0.9 for document in now)
    assert figures["lost"] == {"strange": len(judged)}


def test_a_dry_run_shows_the_same_and_changes_nothing(out: Path) -> None:
    for tar in tars(out):
        age(tar)
    before = [tar.read_bytes() for tar in tars(out)]
    shown = told("revalidate", str(out), "--dry-run", "--jobs", "1")["archives"]
    assert [tar.read_bytes() for tar in tars(out)] == before
    done = told("revalidate", str(out), "--jobs", "1")["archives"]
    assert {**done, "rewritten": 0} == shown


def test_what_is_current_is_passed_over(out: Path) -> None:
    before = [tar.stat().st_mtime_ns for tar in tars(out)]
    figures = told("revalidate", str(out), "--jobs", "1")["archives"]
    assert (figures["current"], figures["clips"]) == (4, 0)
    assert [tar.stat().st_mtime_ns for tar in tars(out)] == before


def test_what_other_tiers_have_written_stays(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = tars(out)[0]
    monkeypatch.setitem(RULES, "far_off", _later_rule())
    age(tar)

    def aligned(held: dict[str, bytes]) -> None:
        for name in [name for name in held if name.startswith("transcriptions/")]:
            document = orjson.loads(held[name])
            document["alignment_score"] = 0.4
            document["findings"].append(
                {"code": "far_off", "severity": "warn", "evidence": "0.4", "span": None}
            )
            document["of_another_tool"] = {"kept": True}
            held[name] = orjson.dumps(document)

    rewrite(tar, aligned)
    told("revalidate", str(tar), "--jobs", "1")
    for document in documents(tar):
        assert document["alignment_score"] == 0.4
        assert document["of_another_tool"] == {"kept": True}
        assert "far_off" in [found["code"] for found in document["findings"]]
        assert "far_off" in document["lanes"]["asr"]["reasons"]
        assert "strange" not in [found["code"] for found in document["findings"]]


def _later_rule() -> object:
    from dataclasses import replace

    return replace(RULES["language_other"], code="far_off", later=True)


def test_what_is_none_of_ours_is_left_alone_with_a_reason(out: Path) -> None:
    foreign, damaged, strange, good = tars(out)
    for tar in tars(out):
        age(tar)
    with tarfile.open(foreign, "a") as archive:
        info = tarfile.TarInfo("alignment/extra.json")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"{}"))
    damaged.write_bytes(damaged.read_bytes()[:-20_000])
    strange.write_bytes(strange.read_bytes().replace(b"lipika-video/1", b"lipika-video/9"))
    before = {tar: tar.read_bytes() for tar in (foreign, damaged, strange)}
    result = command("revalidate", str(out), "--jobs", "1")
    assert result.exit_code == 1
    assert all(f"{tar}: " in result.output for tar in before)
    assert "alignment/extra.json" in result.output
    assert "Traceback" not in result.output
    assert {tar: tar.read_bytes() for tar in before} == before
    assert {document["checks"]["validator_version"] for document in documents(good)} == {VALIDATOR_VERSION}


def test_an_archive_that_is_replaced_meanwhile_is_not_overwritten(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = tars(out)[0]
    newer = tar.read_bytes()
    age(tar)
    judge = revalidate._judge

    def slowly(*arguments: object) -> object:
        tar.write_bytes(newer)  # a worker has done the video again
        return judge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(revalidate, "_judge", slowly)
    result = command("revalidate", str(tar), "--jobs", "1")
    assert result.exit_code == 1
    assert "replaced while it was judged" in result.output
    assert tar.read_bytes() == newer


TWO_PROCESSES = """
import asyncio, sys, typer
from lipika.cli import validation
app = typer.Typer()
validation.add_to(app, lambda job: asyncio.run(job()))
app(["revalidate", sys.argv[1], "--jobs", "2", "--json"])
"""


def test_a_killed_run_leaves_old_or_new_archives_and_goes_on_when_called_again(tmp_path: Path) -> None:
    results = [made(number) for number in range(40)]
    first = write_archive(tmp_path / "v00_transcribed.tar", results)
    age(first)
    for number in range(1, 16):
        shutil.copy(first, tmp_path / f"v{number:02d}_transcribed.tar")
    audio = _audio(first)
    old = {tar: tar.stat().st_ino for tar in tars(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", TWO_PROCESSES, str(tmp_path)])
    while not _replaced(old):
        time.sleep(0.005)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    new = _settled(old)
    for tar in tars(tmp_path):
        versions = {document["checks"]["validator_version"] for document in documents(tar)}
        assert versions == ({VALIDATOR_VERSION} if tar in new else {"1"})
        assert list(metadata(tar)["transcription"]["versions"]["validator"]) == list(versions)
        assert len(documents(tar)) == len(_audio(tar)) == 40
    figures = told("revalidate", str(tmp_path), "--jobs", "1")["archives"]
    assert 0 < len(new) < 16
    assert (figures["current"], figures["rewritten"]) == (len(new), 16 - len(new))
    assert all(_audio(tar) == audio for tar in tars(tmp_path))
    assert len({tar.read_bytes() for tar in tars(tmp_path)}) == 1, "whichever process did it"


def _replaced(old: dict[Path, int]) -> set[Path]:
    return {tar for tar, inode in old.items() if tar.stat().st_ino != inode}


def _settled(old: dict[Path, int]) -> set[Path]:
    """Archives that were replaced, once orphaned processes have noticed that they are alone."""
    changed: set[Path] = set()
    while (now := _replaced(old)) != changed:
        changed = now
        time.sleep(0.5)
    return changed


def _audio(tar: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256(data).hexdigest()
        for name, data in members(tar).items()
        if name.startswith("segments/")
    }


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket of an S3 server on loopback; the commands use it."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url, key, secret = f"http://{host}:{port}", "key-id", "no-secret"
    call(f"{url}/bucket", "PUT")
    monkeypatch.setenv("S3_ENDPOINT_URL", url)
    monkeypatch.setenv("R2_ACCESS_KEY_ID", key)
    monkeypatch.setenv("R2_SECRET_ACCESS_KEY", secret)
    yield Store.open("s3://bucket/results", StoreSettings(key, secret, endpoint_url=url))
    server.stop()


async def test_archives_in_a_bucket_are_rewritten_there(finished: Finished, out: Path, bucket: Store) -> None:
    for tar in tars(out)[:2]:
        age(tar)
        await bucket.put_bytes(tar.name, tar.read_bytes())
    await bucket.put_bytes("notes.tar", b"none of ours")
    told_by = await asyncio.to_thread(told, "revalidate", bucket.url, "--jobs", "1")
    assert (told_by["archives"]["units"], told_by["archives"]["rewritten"]) == (2, 2)
    for tar in tars(finished.folder)[:2]:
        assert await bucket.get_bytes(tar.name) == tar.read_bytes()


@pytest.mark.parametrize(
    ("source", "root", "key"),
    [
        ("s3://bucket/results", "s3://bucket/results", ""),
        ("s3://bucket/results/", "s3://bucket/results", ""),
        ("s3://bucket/results/v_transcribed.tar", "s3://bucket", "results/v_transcribed.tar"),
        ("s3://bucket", "s3://bucket", ""),
    ],
)
def test_sources_in_a_bucket(source: str, root: str, key: str) -> None:
    assert _root_and_key(source) == (root, key)


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    for source in (tmp_path / "nowhere", tmp_path / "no.tar", tmp_path):
        result = command("revalidate", str(source), "--jobs", "1")
        assert isinstance(result.exception, UsageError)
        assert str(source) in str(result.exception)
    assert "--rows" in command("revalidate").output


# ----------------------------------------------------------------------------- rows

AGE_ROWS = """
    update transcription_results set validator_version = '1', quality_score = 0.25, asr_eligible = false,
      tts_clean_eligible = false, tts_expressive_eligible = false, lang_mismatch_flag = true, num_unk = 9,
      findings = '[{"code": "strange", "severity": "fail", "evidence": "-", "span": null}]',
      lane_reasons = '{}', score_parts = '{}', overlap_suspected = true, text_length_per_sec = 0
    where transcription is not null
"""
COUNT_ANEW = """
    delete from quality_rollup;
    insert into quality_rollup
    select date_trunc('hour', created_at), expected_language_hint, worker_id, count(*),
      count(*) filter (where status = 'transcribed'), count(*) filter (where status = 'no_speech'),
      count(*) filter (where status = 'failed'), count(*) filter (where asr_eligible),
      count(*) filter (where tts_clean_eligible), count(*) filter (where tts_expressive_eligible),
      count(*) filter (where lang_mismatch_flag), count(quality_score), coalesce(sum(quality_score::float8), 0),
      sum(duration_ms), sum(cost_usd)
    from transcription_results group by 1, 2, 3
"""
LANES = """
    select sum(asr_eligible)::int as asr, sum(tts_clean)::int as clean, sum(tts_expressive)::int as expressive,
      sum(lang_mismatch)::int as mismatch from quality_rollup
"""
LANES_FROM_SCRATCH = """
    select count(*) filter (where asr_eligible)::int as asr, count(*) filter (where tts_clean_eligible)::int as clean,
      count(*) filter (where tts_expressive_eligible)::int as expressive,
      count(*) filter (where lang_mismatch_flag)::int as mismatch from transcription_results
"""
ROWS = """
    select video_id, segment_file, lang_mismatch_flag, num_unk, num_inaudible, num_event_tags, text_length_per_sec,
      overlap_suspected, quality_score, score_parts, asr_eligible, tts_clean_eligible, tts_expressive_eligible,
      lane_reasons, findings, validator_version
    from transcription_results order by 1, 2
"""


def age_rows(url: str) -> None:
    execute(url, AGE_ROWS, COUNT_ANEW)


def test_aged_rows_come_out_as_a_run_writes_them_and_the_sums_follow(stored_url: str) -> None:
    before = table(stored_url, ROWS)
    age_rows(stored_url)
    aged = table(stored_url, ROWS)
    shown = told("revalidate", "--rows", "--dry-run", "--jobs", "1")["rows"]
    assert table(stored_url, ROWS) == aged
    done = told("revalidate", "--rows", "--jobs", "1")["rows"]
    assert table(stored_url, ROWS) == before
    assert {**done, "rewritten": 0} == shown
    assert (done["rewritten"], done["clips"]) == (4, len([row for row in before if row["validator_version"]]))
    assert sums_of_rollup(stored_url) == sums_from_scratch(stored_url)
    assert table(stored_url, LANES) == table(stored_url, LANES_FROM_SCRATCH)
    again = told("revalidate", "--rows", "--jobs", "1")["rows"]
    assert (again["current"], again["clips"]) == (4, 0)


def test_only_stale_rows_are_written(stored_url: str) -> None:
    execute(stored_url, AGE_ROWS + " and segment_file < 'speaker0'", COUNT_ANEW)
    query = (
        "select ctid::text, xmin::text from transcription_results where segment_file >= 'speaker0' order by 1"
    )
    before = table(stored_url, query)
    assert before
    told("revalidate", "--rows", "--jobs", "1")
    assert table(stored_url, query) == before


def test_flags_follow_the_new_verdicts(stored_url: str) -> None:
    first, second, *_rest = table(
        stored_url,
        "select video_id, segment_file from transcription_results where status = 'transcribed' order by 1, 2",
    )
    age_rows(stored_url)
    with psycopg.connect(stored_url) as connection:
        connection.execute("delete from transcription_flags")
        connection.execute(
            "update transcription_results set transcription = %(loop)s, tagged = %(loop)s"
            " where video_id = %(video_id)s and segment_file = %(segment_file)s",
            {**first, "loop": "मैं कल आऊँगा " * 12},
        )
        for kind in ("strange", "discard:x", "by_hand"):
            connection.execute(
                "insert into transcription_flags (video_id, segment_file, flag_type, severity)"
                " values (%(video_id)s, %(segment_file)s, %(kind)s, 'fail')",
                {**second, "kind": kind},
            )
    told("revalidate", "--rows", "--jobs", "1")
    state = {
        row["flag_type"]: (row["resolved"], row["resolved_by"])
        for row in table(stored_url, "select * from transcription_flags")
    }
    assert state["loop"] == (False, None)
    assert state["strange"] == (True, "lipika")
    assert state["discard:x"] == state["by_hand"] == (False, None)
    assert sums_of_rollup(stored_url) == sums_from_scratch(stored_url)


async def judged(stored: Stored, video_id: str) -> list[tuple[StoredClip, Verdict]]:
    """Some verdict for every answered row."""
    rows = [row for row in await stored.clips(video_id) if row.answer is not None]
    held = [
        JudgedAnswer(row.answer, row.clip(clip().audio), "hi", (), ComparedVerdict((), frozenset(), 0.0))
        for row in rows
        if row.answer is not None
    ]
    return list(zip(rows, judge_again(held, []), strict=True))


async def test_rows_that_a_worker_wrote_meanwhile_keep_its_words(stored_url: str) -> None:
    async with Database(stored_url) as database:
        stored = Stored(database)
        video_id = (await anext(stored.videos("x"))).video_id
        pairs = await judged(stored, video_id)
        mine = {"video_id": video_id, "segment_file": pairs[0][0].segment_file}
        with psycopg.connect(stored_url) as connection:
            connection.execute(
                "update transcription_results set transcription = 'newer', quality_score = 0.125"
                " where video_id = %(video_id)s and segment_file = %(segment_file)s",
                mine,
            )
        execute(stored_url, COUNT_ANEW)
        outcome = await stored.rewrite(video_id, pairs)
    assert (outcome.written, outcome.busy) == (len(pairs) - 1, False)
    (row,) = table(stored_url, "select * from transcription_results where transcription = 'newer'")
    assert (row["segment_file"], row["quality_score"]) == (mine["segment_file"], 0.125)
    assert sums_of_rollup(stored_url) == sums_from_scratch(stored_url)


async def test_a_video_in_a_workers_hands_is_left_alone(stored_url: str) -> None:
    age_rows(stored_url)
    before = table(stored_url, ROWS)
    execute(stored_url, "update video_queue set status = 'pending', held = (video_id not like 'bn%')")
    async with Database(stored_url) as database:
        (claim,) = await Queue(database).claim("w9", 60, 5)
        stored = Stored(database)
        outcome = await stored.rewrite(claim.video_id, await judged(stored, claim.video_id))
    assert (outcome.written, outcome.busy) == (0, True)
    assert table(stored_url, ROWS) == before


async def test_no_worker_can_take_a_video_while_its_rows_are_written(stored_url: str) -> None:
    execute(stored_url, "update video_queue set status = 'pending', held = (video_id not like 'bn%')")
    statement = load("stored")["rewrite"].sql
    async with Database(stored_url) as database:
        queue = Queue(database)
        (video,) = table(stored_url, "select video_id from video_queue where not held")
        with psycopg.connect(stored_url) as slow:  # a rewriting that has not committed yet
            slow.execute(statement, {"video_id": video["video_id"], "rows": "[]", "flags": "[]"})
            assert await queue.claim("w9", 60, 1) == []
        assert len(await queue.claim("w9", 60, 1)) == 1


def forget_the_audio(url: str) -> None:
    """As in a database of old whose archives have gone."""
    execute(
        url,
        "alter table transcription_results add column if not exists audio_facts jsonb",
        "update transcription_results set audio_facts = null",
        "update video_queue set output_key = '/nowhere/' || video_id || '.tar'",
    )


def test_without_a_word_on_the_audio_a_row_is_left_alone(finished: Finished, stored_url: str) -> None:
    age_rows(stored_url)
    forget_the_audio(stored_url)
    before = table(stored_url, ROWS)
    figures = told("revalidate", "--rows", "--jobs", "1")["rows"]
    assert figures["without_audio"] == len([row for row in before if row["validator_version"]])
    assert (figures["clips"], figures["rewritten"]) == (0, 0)
    assert table(stored_url, ROWS) == before


def test_rows_that_know_their_audio_need_no_archive(finished: Finished, stored_url: str) -> None:
    before = table(stored_url, ROWS)
    age_rows(stored_url)
    forget_the_audio(stored_url)
    with psycopg.connect(stored_url) as connection:
        for result in _results(finished):
            connection.execute(
                "update transcription_results set audio_facts = %s where (video_id, segment_file) = (%s, %s)",
                (orjson.dumps(result.clip.audio).decode(), result.video_id, result.segment_file),
            )
    assert told("revalidate", "--rows", "--jobs", "1")["rows"]["without_audio"] == 0
    assert table(stored_url, ROWS) == before


def _results(finished: Finished) -> Iterator[ClipResult]:
    for tar in tars(finished.folder):
        with tar.open("rb") as stream:
            yield from read_results(stream)


def test_archives_and_rows_together_put_the_new_archive_on_record(out: Path, stored_url: str) -> None:
    age_rows(stored_url)
    for tar in tars(out):
        age(tar)
        with psycopg.connect(stored_url) as connection:
            connection.execute(
                "update video_queue set output_bytes = %s, output_digest = 'old', output_key = %s"
                " where video_id = %s",
                (tar.stat().st_size, str(tar), tar.name.removesuffix("_transcribed.tar")),
            )
    done = told("revalidate", str(out), "--rows", "--jobs", "1")
    assert done["archives"]["rewritten"] == done["rows"]["rewritten"] == 4
    assert {**done["archives"], "lost": {}} == {**done["rows"], "lost": {}}
    for row in table(stored_url, "select * from video_queue"):
        tar = out / f"{row['video_id']}_transcribed.tar"
        assert row["output_bytes"] == tar.stat().st_size
        assert row["output_digest"] == hashlib.sha256(tar.read_bytes()).hexdigest()


# ----------------------------------------------------------------------------- the whole video


def test_overlap_is_found_anew_and_other_tiers_findings_are_kept() -> None:
    first, second = made(0), made(0)
    other = second.clip.name.__class__("speaker1", second.clip.name.start_cs, second.clip.name.end_cs)
    assert first.answer is not None
    held = JudgedAnswer(first.answer, first.clip, "hi", (), ComparedVerdict((), frozenset(), 0.0))
    (alone,) = judge_again([held], [first.clip.name])
    (shared,) = judge_again([held], [first.clip.name, other])
    assert alone.findings == ()
    assert [found.code for found in shared.findings] == ["overlap_timeline"]
    assert shared.overlap_suspected
    assert RULES["overlap_timeline"].later
    of_askings_or_people = {"repetition_agreed", "unusable"}
    assert {rule.part for rule in RULES.values() if rule.later and rule.code not in of_askings_or_people} == {
        ScorePart.TAGS,
        ScorePart.ALIGNMENT,
    }
    assert RULES["overlap_timeline"].severity is Severity.WARN


def test_the_words_for_people(out: Path, stored_url: str) -> None:
    for tar in tars(out):
        age(tar)
    shown = command("revalidate", str(out), "--rows", "--dry-run", "--jobs", "1").output
    assert "Archives: 4 archives, 0 current already, 4 to be rewritten" in shown
    assert "Rows: 4 videos, 4 current already" in shown
    assert "no longer found: strange" in shown
    assert "--dry-run" in shown
    assert f"validator {VALIDATOR_VERSION}" in shown
