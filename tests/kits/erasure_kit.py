"""Somebody who is everywhere: two speakers of one video, in every table and object that can hold them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import orjson
import psycopg
from psycopg import sql

from lipika.archive.documents import clip_result_to_json
from lipika.config import load_settings
from lipika.db import Database, Queue, Results
from lipika.db.erasures import WantedName
from lipika.erasure.course import Eraser, ErasureOptions
from lipika.jobs.erase import PlacesOfSettings
from lipika.models import Accounting, ClipResult, NewVideo, SegmentName
from stored_kit import made, write_archive

GONE, STAYS = "asha77", "ravi88"
GONE_TEXT, STAYS_TEXT = "आशा ने आज एक लंबी कहानी सुनाई।", "रवि ने कल दूसरी बात कही थी।"
VIDEO = "vid-é1"


def spoken(speaker: str, number: int, text: str, video_id: str = VIDEO) -> ClipResult:
    """A clip of a speaker; its audio is known by speaker and number alone, whatever the video."""
    result = made(number, text=text, video_id=video_id)
    name = SegmentName(speaker, result.clip.name.start_cs, result.clip.name.end_cs)
    digest = f"{number + (0xA000 if speaker == GONE else 0xB000):064x}"
    return replace(result, clip=replace(result.clip, name=name, segment=name, audio_digest=digest))


def of_both(video_id: str = VIDEO) -> list[ClipResult]:
    return [spoken(GONE, n, f"{GONE_TEXT} {n}", video_id) for n in range(3)] + [
        spoken(STAYS, n + 10, f"{STAYS_TEXT} {n}", video_id) for n in range(2)
    ]


def write_own_metadata(path: Path) -> None:
    """What the archive said of itself before: both speakers, by name."""
    from stored_kit import rewrite

    def change(members: dict[str, bytes]) -> None:
        document = orjson.loads(members["metadata.json"])
        own = {
            "title": "talk",
            "big": 12345678901234567890123,
            "speakers": [{"id": GONE, "age": 30}, {"id": STAYS}],
        }
        document["transcription"]["discards"] = [
            {"segment_file": f"{GONE}_09000_09100.flac", "reason": "too_short", "message": f"{GONE} is short",
             "whole_segment": True, "start_ms": 90000, "end_ms": 91000}
        ]  # fmt: skip
        document["transcription"]["accounting"] |= {
            "segments": 6, "segments_discarded": 1, "discard_reasons": {"too_short": 1}
        }  # fmt: skip
        text = orjson.dumps(document["transcription"]).decode()
        members["metadata.json"] = (
            "{" + ", ".join(f'"{key}": {value if isinstance(value, int) else orjson.dumps(value).decode()}'
                            for key, value in own.items()) + f', "transcription": {text}}}'
        ).encode()  # fmt: skip

    rewrite(path, change)


async def done_video(database: Database, folder: Path, video_id: str = VIDEO) -> Path:
    """A done video of both speakers, as a worker leaves it."""
    results = of_both(video_id)
    path = folder / f"{video_id}_transcribed.tar"
    await asyncio.to_thread(write_archive, path, results)
    await asyncio.to_thread(write_own_metadata, path)
    queue = Queue(database)
    await queue.add([NewVideo(video_id, str(folder / f"{video_id}.tar"), str(path), "hi")])
    (claim,) = await queue.claim("w1", 600, 1, only=[video_id])
    await Results(database).write(claim, results)
    accounting = Accounting(6, 5, 1, 0, 5, 5, 0, 0, {"too_short": 1})
    await queue.finish(claim, accounting, output_bytes=path.stat().st_size, output_digest="old")
    return path


EVERYWHERE: LiteralString = """
    insert into transcription_flags (video_id, segment_file, flag_type, severity, details) values
     (%(v)s, %(g)s || '_09000_09100.flac', 'discard:too_short', 'info', %(text)s),
     (%(v)s, %(g)s || '_00000_00500.flac', 'loop', 'fail', %(text)s),
     (%(v)s, %(s)s || '_10000_10500.flac', 'loop', 'fail', 'of the other');
    insert into transcription_voters (video_id, segment_file, audio_digest, voters, tier, consensus)
     select video_id, segment_file, audio_digest, jsonb_build_array(transcription), 'gold', '{}'
     from transcription_results on conflict do nothing;
    insert into transcription_answers (audio_digest, way_digest, provider, model_id, model_version, temperature,
     thinking_level, prompt_version, schema_version, answer, usage, cost_usd, batch_id)
     select audio_digest, 'w', 'aistudio', 'other', 'other-1', 0, 'low', 'p0', 's1',
     jsonb_build_object('transcription', transcription), '{}', 0.1, batch_id from transcription_results;
    insert into transcription_answers (audio_digest, way_digest, provider, model_id, model_version, temperature,
     thinking_level, prompt_version, schema_version, answer, usage, cost_usd, batch_id)
     select 'cut of an older trimmer', 'w', 'aistudio', 'other', 'other-1', 0, 'low', 'p0', 's1',
     jsonb_build_object('transcription', %(text)s::text), '{}', 0.1, 'b1';
    insert into transcription_batches (batch_id, worker_id, video_ids, started_at, segments_sent, segments_returned,
     segments_429, segments_error, segments_retried, provider_used, cache_hits, cached_tokens, prompt_tokens,
     output_tokens, thought_tokens, cost_usd, avg_latency_ms, p95_latency_ms, batch_duration_ms)
     values ('b1', 'w1', array[%(v)s, 'another'], now(), 5, 5, 0, 0, 0, 'aistudio', 0, 0, 1, 1, 0, 0.1, 1, 1, 1);
    insert into transcription_edits (video_id, segment_file, audio_digest, kind, transcription, tagged, model_text,
     made_against, edited_by) select video_id, segment_file, audio_digest, 'text', transcription, tagged,
     transcription, 'x', 'asha' from transcription_results;
    insert into edited_clips (video_id, segment_file, audio_digest, last_id, word, model, edited_by, changed_at)
     select video_id, segment_file, audio_digest, 1, jsonb_build_object('transcription', transcription), '{}', 'asha',
     now()
     from transcription_results;
    insert into audits (seed, lane, per_language, double_share, limit_cer, limit_unusable, strata, drawn_by)
     values (1, 'asr', 5, 0, 0.1, 0.1, '[]', 'x');
    insert into audit_clips (audit_id, place, stratum, look, doubled, video_id, segment_file, audio_digest,
     duration_ms,
     language, transcription, proxy_errors, proxy_letters)
     select 1, row_number() over (order by segment_file), 0, 1, false, video_id, segment_file, audio_digest, 1, 'hi',
     transcription, 0, 0 from transcription_results;
    insert into audit_judgements (audit_id, place, reviewer, usable, text, seconds, claimed_at, judged_at)
     select 1, place, 'r', true, transcription, 1, now(), now() from audit_clips;
    insert into canary_runs (run_id, report, output_url) values
     ('c1', jsonb_build_object('quotes', %(text)s::text, 'of', %(v)s::text), %(canary)s);
    insert into canary_clips (run_id, arm, video_id, segment_file, language, status, requests, cost_usd,
     transcription, details) select 'c1', 'a', video_id, segment_file, 'hi', 'transcribed', 1, 0, transcription, '{}'
     from transcription_results;
    insert into comparisons (first_way, second_way, first_words, second_words, seed, started_by)
     values ('a', 'b', '', '', 1, 'x');
    insert into comparison_clips (comparison_id, place, doubled, video_id, segment_file, audio_digest, duration_ms,
     language, first_text, second_text, differing, letters, first_usd, second_usd, drawn_by)
     select 1, row_number() over (order by segment_file), false, video_id, segment_file, audio_digest, 1, 'hi',
     transcription, transcription, 0, 1, 0, 0, 'x' from transcription_results;
    insert into comparison_votes (comparison_id, place, voter) select 1, place, 'r' from comparison_clips;
    insert into redos (query, ordered_by, note) values
     ('clip=' || %(v)s || '/' || %(g)s || '_00000_00500.flac', 'x', ''),
     ('language=hi', 'x', %(v)s || ': a worker holds it');
    insert into redo_clips (redo_id, video_id, segment_file, audio_digest, duration_ms, note)
     select 1, video_id, segment_file, audio_digest, 1, transcription from transcription_results
     where segment_file like %(g)s || '_00000%%';
    insert into redo_clips (redo_id, video_id, segment_file, audio_digest, duration_ms, note)
     select 2, video_id, segment_file, audio_digest, 1, transcription from transcription_results;
    insert into redo_turns (audio_digest, way, holder, expires_at)
     select audio_digest, 'w', 'h', now() from transcription_results;
    insert into workers (worker_id, instance_id, provider, current_video_id, last_error)
     values ('w9', 'i', 'aistudio', %(v)s, %(v)s || ': broken');
    insert into worker_errors (worker_id, video_id, exception_type, message, traceback) values
     ('w1', %(v)s, 'E', 'm', 't'), ('w1', null, 'E', 'said ' || %(text)s, 't'),
     ('w1', null, 'E', 'm', %(v)s || ': t'),
     ('w1', 'another', 'E', 'stays', 't');
    insert into notices (event, message) values ('park:' || %(v)s, %(v)s || ' is parked'), ('end:1', 'all is done');
    insert into saved_filters (name, page, query, saved_by) values ('mine', 'clips', 'video=' || %(v)s, 'x')
"""


def put_everywhere(url: str, folder: Path, text: str = f"{GONE_TEXT} 0") -> None:
    """Rows of every table that can hold somebody, and objects beside the result."""
    canary = folder / "canary" / "c1"
    canary.mkdir(parents=True)
    (canary / "report.html").write_text(f"{VIDEO} {text}")
    (canary / "answers.jsonl").write_text(text)
    given = {"v": VIDEO, "g": GONE, "s": STAYS, "text": text, "canary": str(canary)}
    put_rows(url, EVERYWHERE, **given)
    saved = folder / "partials" / f"{VIDEO}_transcribed.tar"
    saved.mkdir(parents=True)
    (saved / "a.jsonl").write_bytes(b"".join(map(clip_result_to_json, of_both())))
    (saved / "b.jsonl").write_bytes(clip_result_to_json(of_both()[0]))


def put_rows(url: str, statements: str, **given: object) -> None:
    """Run statements one after the other, apart by semicolons."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements.split(";"):
            connection.execute(statement.encode(), given)


def in_tables(url: str, *needles: str) -> dict[str, list[str]]:
    """Tables with a row that holds one of these texts: every table there is, whole rows as text."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1"
        ).fetchall()
        for (name,) in names:
            for (row,) in connection.execute(
                sql.SQL("select t::text from {} t").format(sql.Identifier(name))
            ):
                if any(needle in row for needle in needles):
                    found.setdefault(name, []).append(row)
    return found


def in_files(folder: Path, *needles: str) -> list[str]:
    """Files whose name or bytes hold one of these texts."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
        and (
            any(needle.encode() in path.read_bytes() for needle in needles)
            or any(needle in path.name for needle in needles)
        )
    )


def eraser(database: Database, url: str, folder: Path) -> Eraser:
    settings = load_settings(database_url=url, output_url=str(folder), spool_dir=folder.parent / "spool")
    return Eraser(database, PlacesOfSettings(settings))


SPEAKER = [WantedName(video_id=VIDEO, speaker=GONE)]
WHOLE = [WantedName(video_id=VIDEO)]
OPTIONS = ErasureOptions()
