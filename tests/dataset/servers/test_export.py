"""`lipika export` of result archives, as a user runs it."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import soundfile

from command_kit import lipika
from export_kit import corpus, export_here, result, write_results
from foreign_audio import voice, written
from lipika.dataset.formats import FORMATS
from lipika.dataset.place import sha256_of_file
from lipika.models import ClipStatus
from stored_kit import rewrite


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("results"))


def run(*arguments: object, code: int = 0) -> str:
    done = export_here(*arguments)
    assert done.exit_code == code, done.output
    return str(done.stdout if code == 0 else done.stderr)


def told(*arguments: object) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(run(*arguments, "--json"))
    return document


def sums(folder: Path) -> Mapping[str, str]:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def test_a_plan_says_what_there_would_be_and_writes_nothing(results: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    plan = told("plan", "--from", results, "--lane", "any", "--split", "train=.6,dev=.4")["plan"]
    assert plan["candidates"] == 26
    assert plan["clips"] + sum(clips for clips, _ in plan["dropped"].values()) == 26
    assert set(plan["dropped"]) == {"no_speech"}
    assert {tarset["language"] for tarset in plan["tarsets"]} == {"hi", "ta", "ur"}
    words = run("plan", "--from", results, "--lane", "any")
    assert "no_speech" in words
    assert "nothing was written" in words
    assert re.search(r"writing takes about \d+ s here, or \d+ s from and to a bucket", words)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_is_written_and_summed_up(name: str, results: Path, tmp_path: Path) -> None:
    dest = tmp_path / "a data set"
    done = told(name, dest, "--from", results, "--lane", "any", "--split", "train=.6,dev=.4", "--seed", "2")
    assert done["clips"] == done["plan"]["clips"] == 21
    written = sums(dest)
    there = {str(path.relative_to(dest)) for path in dest.rglob("*") if path.is_file()}
    assert there == {*written, "SHA256SUMS"}
    assert all(sha256_of_file(dest / path) == digest for path, digest in written.items())
    summary = orjson.loads((dest / "dataset.json").read_bytes())
    assert summary["exported"] == 21
    assert summary["candidates"] == 26
    speakers = [line.split(",") for line in (dest / "speakers.csv").read_text().splitlines()]
    assert speakers[0] == ["speaker", "language", "split", "clips", "seconds"]
    assert sum(int(clips) for _, _, _, clips, _ in speakers[1:]) == 21
    again = told(name, dest, "--from", results, "--lane", "any", "--split", "train=.6,dev=.4", "--seed", "2")
    assert again["was_complete"]
    assert sums(dest) == written


def test_kaldi_gets_no_sample_of_more_than_16_bits(tmp_path: Path) -> None:
    """Its `wave-reader.cc` refuses others, and what `flac -d` gives has as many as the FLAC."""
    clip, _ = result("deep.24", 0, "hi", 48_000)
    deep = written(voice(3, 48_000).astype(np.int32) << 16, 48_000, "FLAC", "PCM_24")
    write_results(tmp_path / "in" / "deep.24_transcribed.tar", [(clip, deep)])
    told("kaldi", tmp_path / "kaldi", "--from", tmp_path / "in", "--lane", "any")
    told("parquet", tmp_path / "parquet", "--from", tmp_path / "in", "--lane", "any")
    (flac,) = (tmp_path / "kaldi" / "hi").rglob("*.flac")
    assert soundfile.info(flac).subtype == "PCM_16"
    assert np.array_equal(soundfile.read(flac, dtype="int16")[0], voice(3, 48_000))
    (table,) = (tmp_path / "parquet" / "data").rglob("*.parquet")
    assert pq.read_table(table).to_pylist()[0]["audio"]["bytes"] == deep


def test_other_options_into_the_same_folder_are_refused_and_again_plans_anew(
    results: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "out"
    run("parquet", dest, "--from", results, "--lane", "any")
    words = run("parquet", dest, "--from", results, "--lane", "any", "--min-score", ".5", code=2)
    assert "holds an export with other options" in words
    assert "--again" in words
    (dest / "notes.txt").write_text("mine")
    done = told("parquet", dest, "--from", results, "--lane", "any", "--language", "hi", "--again")
    assert {tarset["language"] for tarset in done["plan"]["tarsets"]} == {"hi"}
    assert not list(dest.glob("data/ta/*.parquet"))
    assert (dest / "notes.txt").read_text() == "mine"


def test_a_folder_with_anything_else_is_left_alone(results: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    for option in ((), ("--again",)):
        words = run("parquet", tmp_path / "out", "--from", results, *option, code=2)
        assert "is not empty, and no export" in words or "this is none" in words
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_two_languages_after_one_option(results: Path) -> None:
    done = told("plan", "--from", results, "--language", "hi", "ur", "--lane", "any")
    assert {tarset["language"] for tarset in done["plan"]["tarsets"]} == {"hi", "ur"}


def test_nothing_left_and_nothing_there_are_told_apart(results: Path, tmp_path: Path) -> None:
    words = run(
        "parquet", tmp_path / "out", "--from", results, "--min-score", "1", "--max-seconds", "1", code=2
    )
    assert "nothing is left to export of 26 clips" in words
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert "no result archives" in run("plan", "--from", tmp_path, code=2)


def packed_corpus(folder: Path) -> Path:
    """Three clips of two segments that were packed, and a clip of somebody who has packed nothing."""
    folder.mkdir()
    found = [result("mine", number, "hi", 16_000) for number in range(3)]
    shared = found[1][0].clip.segment
    found[2] = (replace(found[2][0], clip=replace(found[2][0].clip, segment=shared)), found[2][1])
    said = {"text": "उनका पाठ", "split": "validation", "speaker": "Asha", "columns": {"age": "20"}}
    segments = {
        found[0][0].clip.segment.stem: {"id": "utt-0", **said},
        shared.stem: {"id": "utt-1", "text": "दो भाग", "split": "train"},
    }
    write_results(folder / "mine_transcribed.tar", found, segments)
    write_results(folder / "other_transcribed.tar", [result("other", 3, "hi", 16_000)])
    return folder


def rows_of(kind: str, dest: Path) -> list[dict[str, Any]]:
    """What a format says of its clips beside their audio."""
    if kind == "parquet":
        tables = [pq.read_table(path) for path in sorted(dest.rglob("data/**/*.parquet"))]
        assert len({str(table.schema) for table in tables}) == 1
        return [row for table in tables for row in table.drop(["audio"]).to_pylist()]
    if kind == "webdataset":
        documents = []
        for path in sorted(dest.rglob("*.tar")):
            with tarfile.open(path) as tar:
                names = [name for name in tar.getnames() if name.endswith(".json")]
                documents += [orjson.loads(tar.extractfile(name).read()) for name in names]  # type: ignore[union-attr]
        return documents
    pattern = "manifest_*.json" if kind == "nemo" else "cuts.*.jsonl"
    lines = [line for path in sorted(dest.rglob(pattern)) for line in path.read_bytes().splitlines()]
    return [found.get("custom", found) for found in map(orjson.loads, lines)]


@pytest.mark.parametrize("kind", ["nemo", "shar", "parquet", "webdataset"])
def test_what_a_packed_corpus_had_comes_out_again(kind: str, results: Path, tmp_path: Path) -> None:
    order = ("--from", packed_corpus(tmp_path / "in"), "--lane", "any", "--clips-per-shard", "2")
    done = told(kind, tmp_path / "out", *order)
    assert done["clips"] == 4
    rows = rows_of(kind, tmp_path / "out")
    theirs = sorted((row.get("source_id", ""), row.get("reference", "")) for row in rows)
    assert theirs == [("", ""), ("utt-0", "उनका पाठ"), ("utt-1", ""), ("utt-1", "")]
    (first,) = [row for row in rows if row.get("source_id") == "utt-0"]
    assert orjson.loads(first["source"]) == {"age": "20", "speaker": "Asha", "split": "validation"}
    run("verify", tmp_path / "out")
    if kind == "parquet":  # and nobody else has empty columns for it
        told(kind, tmp_path / "plain", "--from", results, "--lane", "any")
        assert not any("source_id" in row or "reference" in row for row in rows_of(kind, tmp_path / "plain"))


def test_archives_that_were_left_out_stay_on_record(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "results", videos=3)
    broken = folder / "video.0_transcribed.tar"
    broken.write_bytes(broken.read_bytes()[:4_000])
    order = ("parquet", tmp_path / "out", "--from", folder, "--lane", "any", "--json")
    for complete in (False, True):
        done = export_here(*order)
        assert done.exit_code == 1, done.output
        document = orjson.loads(done.stdout)
        assert document["was_complete"] == complete
        assert [name for name, _ in document["problems"]] == [str(broken)]
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "1 result archives could not be read" in card
    assert str(folder) not in card


def test_an_archive_that_is_lost_costs_its_job_alone_until_it_is_back(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "results", videos=6)
    dest, kept = tmp_path / "out", tmp_path / "kept.tar"
    order = ("nemo", dest, "--from", folder, "--lane", "any", "--clips-per-shard", "1", "--jobs", "1")
    run(*order)
    whole = sums(dest)
    for path in dest.rglob("*"):
        if path.is_file() and path.name not in ("plan.parquet", "dropped.parquet"):
            path.unlink()
    (folder / "video.0_transcribed.tar").rename(kept)
    words = run(*order, code=2)
    assert re.search(r"1 of \d+ jobs could not be written: .*video\.0_transcribed\.tar is gone", words)
    assert len(list(dest.rglob("*.tar"))) > 10
    assert not (dest / "SHA256SUMS").exists()
    kept.rename(folder / "video.0_transcribed.tar")
    run(*order)
    assert sums(dest) == whole


@pytest.mark.parametrize("kind", ["two channels", "no samples", "no audio"])
def test_audio_that_no_run_has_packed_is_named_with_the_way_out(kind: str, tmp_path: Path) -> None:
    audio = {
        "two channels": written(np.stack([voice(3), voice(3)], axis=1), 16_000, "FLAC"),
        "no samples": written(voice(3)[:0], 16_000, "FLAC"),
        "no audio": b"RIFF, or so",
    }[kind]
    clip, _ = result("odd", 0, "hi", 16_000)
    archive = write_results(tmp_path / "in" / "odd_transcribed.tar", [(clip, audio)])
    words = run("nemo", tmp_path / "out", "--from", tmp_path / "in", "--lane", "any", code=2)
    assert f"{archive}: {clip.clip.name.stem}.flac is no FLAC of one channel" in words
    assert "--where" in words


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_hostile_texts_come_through_every_format(name: str, tmp_path: Path) -> None:
    """Newlines, tabs, marks of direction, quotes, bars, 100 KB: verified as they are written, and once more."""
    texts = [
        *(
            "एक\nदो\tतीन",
            "\u202eउल्टा\u202c",
            'उसने कहा "हाँ" | और',
            "=1+1",
            "-- ' ; drop",
            "<script>x</script>",
        ),
        "शब्द " * 8_000,
    ]
    found = []
    for number, text in enumerate(texts):
        clip, audio = result("odd", number, "hi", 16_000)
        assert clip.answer is not None
        said = replace(clip.answer, transcription=text, detected_language="hi")
        found.append((replace(clip, status=ClipStatus.TRANSCRIBED, answer=said), audio))
    write_results(tmp_path / "in" / "odd_transcribed.tar", found)
    done = told(name, tmp_path / "out", "--from", tmp_path / "in", "--lane", "any")
    assert done["clips"] == len(texts)
    verified = export_here("verify", tmp_path / "out", "--json")
    assert orjson.loads(verified.stdout)["defects"] == {}


def test_a_damaged_archive_is_named_and_the_rest_exported(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "results", videos=3)
    broken = folder / "video.0_transcribed.tar"
    broken.write_bytes(broken.read_bytes()[:4_000])
    done = lipika(
        "export", "parquet", str(tmp_path / "out"), "--from", str(folder), "--lane", "any", "--json"
    )
    assert done.returncode == 1
    document = orjson.loads(done.stdout)
    assert [name for name, _ in document["problems"]] == [str(broken)]
    assert document["clips"] == 5


@pytest.mark.parametrize(
    "change",
    [
        {"video_id": None},
        {"status": 7},
        {"trim": ["a", "list"]},
        {"findings": [5]},
        {"findings": {"code": 1}},
        {"quality_score": "high"},
        {"audio": {"digest": None, "facts": "none"}},
        {"alignment": {"words": [{"text": "x"}]}},
    ],
    ids=str,
)
def test_a_document_of_somebody_else_costs_its_archive_alone(
    change: dict[str, object], tmp_path: Path
) -> None:
    folder = corpus(tmp_path / "results", videos=2)
    odd = folder / "video.0_transcribed.tar"

    def spoil(held: dict[str, bytes]) -> None:
        name = next(name for name in held if name.startswith("transcriptions/"))
        held[name] = orjson.dumps(orjson.loads(held[name]) | change)

    rewrite(odd, spoil)
    done = export_here("plan", "--from", folder, "--lane", "any", "--json")
    assert done.exit_code == 1, done.output
    document = orjson.loads(done.stdout)
    assert [name for name, _ in document["problems"]] == [str(odd)]
    assert document["plan"]["candidates"] == 1


@pytest.mark.parametrize(
    ("option", "value"), [("--min-snr", "nan"), ("--min-snr", "inf"), ("--max-seconds", "inf")]
)
def test_what_is_no_number_is_refused(option: str, value: str, results: Path) -> None:
    assert f"{option} {value}: give a number" in run("plan", "--from", results, option, value, code=2)


def test_an_archive_that_changes_after_the_plan_stops_with_a_word(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "results", videos=2)
    dest = tmp_path / "out"
    run("parquet", dest, "--from", folder, "--lane", "any")
    for path in dest.rglob("*"):
        if path.is_file() and path.name not in ("plan.parquet", "dropped.parquet"):
            path.unlink()
    write_results(folder / "video.0_transcribed.tar", [result("video.0", 77, "hi", 16_000)])
    words = run("parquet", dest, "--from", folder, "--lane", "any", code=2)
    assert "it has changed since the export was planned" in words
    assert "--again" in words


def test_killed_at_any_moment_and_run_again_it_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "results", videos=9, clips=9)
    options = (
        "--from",
        folder,
        "--lane",
        "any",
        "--split",
        "train=.7,dev=.3",
        "--clips-per-shard",
        "3",
        "--jobs",
        "1",
    )
    whole = tmp_path / "whole"
    began = time.monotonic()
    done = lipika("export", "parquet", str(whole), *map(str, options), "--title", "one")
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    lot = random.Random(7)
    for kill in range(8):
        dest = tmp_path / f"killed-{kill}"
        command = [
            sys.executable,
            "-m",
            "lipika",
            "export",
            "parquet",
            str(dest),
            *map(str, options),
            "--title",
            "one",
        ]
        child = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            child.wait(took * lot.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        kept = (
            {path: path.stat().st_ino for path in dest.rglob("*.parquet") if "data" in path.parts}
            if dest.exists()
            else {}
        )
        again = told("parquet", dest, *options, "--title", "one")
        assert sums(dest) == sums(whole)
        assert not (dest / ".lipika").exists()
        if again["was_complete"]:
            assert all(path.stat().st_ino == inode for path, inode in kept.items())
    assert pq.read_metadata(whole / "plan.parquet").num_row_groups > 3
