"""As a new user would: a folder of recordings to a dataset in three commands, or two; kills, buckets, refusals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile

from command_kit import lipika
from lipika.config import Settings
from lipika.jobs.demo import sample_folder
from lipika.jobs.pack import PackOrder, PackReport, pack
from s3_kit import call, s3_server

FAST = {"BATCH_INTERVAL_SECONDS": "2", "LIVE_SECONDS": "0.5", "PROVIDER": "simulator"}


def spoken(folder: Path, count: int) -> None:
    """So many recordings of speech, in Hindi and Tamil, with a text beside each."""
    for language in ("hi", "ta"):
        (archive,) = sample_folder().glob(f"{language}*.tar")
        with tarfile.open(archive) as tar:
            names = [name for name in tar.getnames() if name.endswith(".flac")]
            audio = [tar.extractfile(name).read() for name in names]  # type: ignore[union-attr]
        (folder / language).mkdir(parents=True)
        for number in range(count // 2):
            (folder / language / f"{number:02d}.flac").write_bytes(audio[number % len(audio)])
            (folder / language / f"{number:02d}.txt").write_text(f"वाक्य {number}")


def pack_here(source: Path, out: Path) -> PackReport:
    return asyncio.run(pack(Settings(_env_file=None), PackOrder(str(source), str(out))))


def members(out: Path) -> dict[str, bytes]:
    """All that lies in the archives of a folder, by archive without its mark, and name."""
    found = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            for one in tar.getmembers():
                found[f"{path.name.rpartition('-')[2][4:]}/{one.name}"] = tar.extractfile(one).read()  # type: ignore[union-attr]
    return found


def test_fifty_files_to_a_dataset_in_three_commands(tmp_path: Path, database_url: str) -> None:
    spoken(tmp_path / "mine", 50)
    (tmp_path / "mine" / "notes.docx").write_bytes(b"x")
    env = {**FAST, "DATABASE_URL": database_url}
    done = lipika("pack", "mine", "--out", "tars", "--json", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["packed"], report["archives"], report["other_files"], report["refused"]) == (50, 2, 1, {})
    done = lipika("run", "tars", "--out", "out", "--json", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segments"] == 50
    done = lipika("export", "parquet", "data", "--from", "out", "--lane", "any", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    rows = datasets.load_dataset(str(tmp_path / "data"), "hi", cache_dir=str(tmp_path / "cache"))["train"]
    assert len(rows) > 0
    assert rows.features["audio"] == datasets.Audio()


def test_run_packs_on_the_way_and_keeps_nothing_twice(tmp_path: Path, database_url: str) -> None:
    spoken(tmp_path / "mine", 6)
    (tmp_path / "mine" / "torn.wav").write_bytes(b"RIFF")
    env = {**FAST, "DATABASE_URL": database_url}
    told = lipika("doctor", "mine", "--json", cwd=tmp_path, env=env)
    seen = json.loads(told.stdout)
    assert (seen["recordings"], seen["languages"], seen["with_text"]) == (7, {"hi": 3, "ta": 3, "": 1}, 6)
    assert seen["usd"] > 0
    first = lipika("run", "mine", "--out", "out", "--json", cwd=tmp_path, env=env)
    summary = json.loads(first.stdout)
    assert (summary["videos"], summary["done"], summary["segments"]) == (2, 2, 6)
    assert summary["packing"][0]["refused"] == {"bad_audio": 1}
    assert first.returncode == 1
    assert "NOT PACKED  1 bad_audio, such as torn.wav" in first.stderr
    assert len(list((tmp_path / "out").glob("*_transcribed.tar"))) == 2
    assert list((tmp_path / "out.packed").glob("*.tar")) == []
    (tmp_path / "mine" / "torn.wav").unlink()
    spoken(tmp_path / "mine" / "more", 2)
    (done,) = (tmp_path / "out").glob("*hi_00001_transcribed.tar")
    done.unlink()  # what is wanted again is packed again, and asked for no more
    again = lipika("run", "mine", "--out", "out", "--json", cwd=tmp_path, env=env)
    summary = json.loads(again.stdout)
    assert again.returncode == 0, again.stderr
    assert (summary["videos"], summary["already_done"], summary["done"]) == (3, 1, 3)
    assert summary["segments"] == 8
    assert summary["requests"] == 0  # the two that are new are the same audio
    with tarfile.open(done) as tar:
        metadata = json.load(tar.extractfile("metadata.json"))  # type: ignore[arg-type]
    assert [one["text"] for one in metadata["packed"]["segments"].values()] == [
        *(f"वाक्य {number}" for number in (0, 1, 2)),
        "वाक्य 0",
    ]


def test_a_pack_that_was_killed_goes_on_to_the_same_archives(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    rng = np.random.default_rng(7)
    for number in range(1_100):
        samples = rng.integers(-9_000, 9_000, 3_000).astype(np.int16)
        soundfile.write(source / f"{number:04d}.wav", samples, 16_000)
    pack_here(source, tmp_path / "whole")
    command = [sys.executable, "-m", "lipika", "pack", "mine", "--out", "killed"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list((tmp_path / "killed").glob("*.tar")):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    report = pack_here(source, tmp_path / "killed")
    assert report.packed + report.packed_before == 1_100
    assert members(tmp_path / "killed") == members(tmp_path / "whole")
    left = {path.suffix for path in (tmp_path / "killed").rglob("*") if path.is_file()}
    assert left == {".tar", ".jsonl"}


def test_the_queue_takes_a_list_of_urls_packed_to_a_bucket(tmp_path: Path, database_url: str) -> None:
    spoken(tmp_path / "mine", 8)
    audio = (tmp_path / "mine" / "hi" / "00.flac").read_bytes()
    with s3_server() as url:
        call(f"{url}/corpus", "PUT")
        call(f"{url}/corpus/raw/a.flac", "PUT", audio)
        env = {
            **FAST,
            "DATABASE_URL": database_url,
            "S3_ENDPOINT_URL": url,
            "R2_ACCESS_KEY_ID": "id",
            "R2_SECRET_ACCESS_KEY": "secret",
        }
        places = [
            "s3://corpus/raw/a.flac",
            "mine/hi/03.flac",
            "s3://corpus/raw/none.flac",
            f"{url}/corpus/no.flac",
        ]
        said = {"lang": "hi", "age": 20}
        splits = ("train", "validation", "", "")
        lines = [
            json.dumps({"url": place, "id": f"utt {n}", "text": f"पाठ {n}", "split": splits[n], **said})
            for n, place in enumerate(places)
        ]
        (tmp_path / "list.jsonl").write_text("\n".join(lines))
        refused = lipika("queue", "add", "list.jsonl", "--out", "out", cwd=tmp_path, env=env)
        assert (refused.returncode, "--packed-to" in refused.stderr) == (2, True)
        words = ("queue", "add", "list.jsonl", "--packed-to", "s3://corpus/in", "--out", "out", "--json")
        done = lipika(*words, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        added = json.loads(done.stdout)
        assert added["added"] == 1
        assert added["packing"][0]["packed"] == 2
        assert added["packing"][0]["refused"] == {"missing_file": 1, "no_such_url": 1}
        again = json.loads(lipika(*words, cwd=tmp_path, env=env).stdout)
        assert (again["added"], again["already_there"], again["packing"][0]["packed_before"]) == (0, 1, 2)
        worked = lipika("worker", "--until-empty", "-q", cwd=tmp_path, env=env)
        assert worked.returncode == 0, worked.stderr
    assert len(list((tmp_path / "out").glob("*_transcribed.tar"))) == 1
    done = lipika("export", "nemo", "rows", "--lane", "any", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, (tmp_path / "rows/hi/train/manifest_0.json").read_text().splitlines())
    theirs = {row["source_id"]: (row["reference"], json.loads(row["source"])) for row in rows}
    assert theirs == {
        f"utt {n}": (f"पाठ {n}", {"age": 20, "language": "hi", "split": splits[n]}) for n in range(2)
    }
    order = ("--split", "theirs", "--lane", "any")
    refused = lipika("export", "nemo", "none", *order, cwd=tmp_path, env=env)
    assert (refused.returncode, "--from" in refused.stderr) == (2, True)
    done = lipika("export", "nemo", "theirs", *order, "--from", "out", "--json", cwd=tmp_path, env=env)
    assert "their split validation is dev here" in json.loads(done.stdout)["plan"]["notes"]
    for n, split in enumerate(("train", "dev")):
        (row,) = map(json.loads, (tmp_path / f"theirs/hi/{split}/manifest_0.json").read_text().splitlines())
        assert row["source_id"] == f"utt {n}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "papers", "--out", "out"), "lipika pack makes such tars"),
        (("pack", "papers", "--out", "out"), "what can be: "),
        (("pack", "one.csv", "--out", "out", "--language", "klingon"), "--language klingon: not one of"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.docx").write_text("x")
    (tmp_path / "one.csv").write_text("path\nmissing.wav\n")
    done: Any = lipika(*words, cwd=tmp_path, env=FAST)
    assert done.returncode == 2
    assert told in done.stderr
