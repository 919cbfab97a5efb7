"""Recordings to archives: bytes as they are, stretches to the sample, all accounted for, the same each time."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from lipika.archive.members import MemberKind, read_members
from lipika.config import Settings
from lipika.jobs.demo import sample_folder
from lipika.jobs.pack import PackOrder, PackReport, pack
from lipika.packing import packer as packer_module
from lipika.packing.archives import ArchiveLimits, OpenArchive
from lipika.packing.journal import KeySet
from lipika.packing.kinds import SourceOptions
from lipika.packing.values import json_value, speaker_name, video_name


def noise(seconds: float, rate: int = 16_000, channels: int = 1, seed: int = 0) -> NDArray[Any]:
    values = np.random.default_rng(seed).integers(-9_000, 9_000, (int(seconds * rate), channels))
    return values.astype(np.int16)


def write(path: Path, samples: NDArray[Any], rate: int = 16_000, **form: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **form)
    return path


def packed(source: Path, out: Path, **given: Any) -> PackReport:
    options = SourceOptions(
        **{key: given.pop(key) for key in ("language", "speaker", "template") if key in given}
    )
    return asyncio.run(pack(Settings(_env_file=None), PackOrder(str(source), str(out), options, **given)))


def read(out: Path) -> tuple[dict[str, tuple[str, bytes]], list[dict[str, Any]]]:
    """(member's name and bytes by what its owner calls it, each archive's metadata), as a worker reads them."""
    found, metadata = {}, []
    for path in sorted(out.glob("*.tar")):
        told: dict[str, Any] = {}
        with path.open("rb") as stream:
            for member in read_members(stream):
                if member.kind is MemberKind.METADATA:
                    told = member.metadata.fields()  # type: ignore[union-attr,assignment]
                    metadata.append(told)
                else:
                    assert member.kind is MemberKind.SEGMENT, member
                    said = told["packed"]["segments"][member.segment.stem]  # type: ignore[union-attr]
                    found[said["id"]] = member.name, member.data  # type: ignore[union-attr]
    return found, metadata


def test_whole_files_go_in_byte_for_byte_and_what_is_said_of_them_beside(tmp_path: Path) -> None:
    source, out = tmp_path / "mine", tmp_path / "out"
    forms: dict[str, dict[str, Any]] = {
        "a.wav": {},
        "b.flac": {"subtype": "PCM_24"},
        "c.ogg": {},
        "d.mp3": {},
        "e.aiff": {},
        "f.w64": {},
    }
    for number, (name, form) in enumerate(forms.items()):
        write(source / "hi" / name, noise(2.0 + number, channels=1 + number % 2, seed=number), **form)
        (source / "hi" / name).with_suffix(".txt").write_text(f"वाक्य {number}")
    report = packed(source, out)
    found, (metadata,) = read(out)
    assert (report.packed, report.recordings, report.lost) == (6, 6, 0)
    assert {name: data for name, (_, data) in found.items()} == {
        f"hi/{name}": (source / "hi" / name).read_bytes() for name in forms
    }
    assert metadata["language"] == "hi"
    said = metadata["packed"]
    assert (said["source"], said["kind"]) == (str(source), "folder")
    assert [one["text"] for one in said["segments"].values()] == [f"वाक्य {number}" for number in range(6)]
    assert list(said["segments"])[:2] == ["unknown_00000_00200", "unknown_00300_00600"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.flac", {"subtype": "PCM_24"}),
        ("a.aiff", {"subtype": "PCM_16"}),
        ("a.caf", {"subtype": "PCM_24"}),
        ("a.au", {"subtype": "PCM_16"}),
        ("a.mp3", {}),
    ],
)
def test_stretches_are_cut_to_the_sample(tmp_path: Path, name: str, form: dict[str, Any]) -> None:
    rate = 44_100
    write(tmp_path / name, noise(9.0, rate, 2), rate, **form)
    rows = [(0.5, 2.25), (5.0, 1.5), (1.0 / 3, 2.0), (8.0, 1.0)]
    lines = [json.dumps({"path": name, "offset": at, "duration": long, "id": str(at)}) for at, long in rows]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    report = packed(tmp_path / "list.jsonl", tmp_path / "out")
    assert (report.packed, report.lost) == (4, 0)
    found, _ = read(tmp_path / "out")
    wide = form.get("subtype") in ("PCM_24", "FLOAT")
    whole, _ = soundfile.read(tmp_path / name, dtype="int32" if wide else "int16")
    for at, long in rows:
        member, data = found[str(at)]
        samples, cut_rate = soundfile.read(io.BytesIO(data), dtype=whole.dtype)
        first, last = round(at * rate), round((at + long) * rate)
        assert cut_rate == rate
        assert member.endswith(".flac")
        assert soundfile.info(io.BytesIO(data)).subtype == ("PCM_24" if wide else "PCM_16")
        if form.get("subtype") != "FLOAT":
            assert (samples == whole[first:last]).all()
        assert len(samples) == last - first


def test_labels_are_segments_on_their_recordings_clock(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    write(source / "a.wav", noise(60.0))
    lines = [("0.5", "1.25", "asha"), ("2.0", "2.0", "ravi/2"), ("59.9", "5.0", "asha"), ("70", "1", "asha")]
    (source / "a.rttm").write_text(
        "".join(f"SPEAKER a 1 {at} {d} <NA> <NA> {s} <NA> <NA>\n" for at, d, s in lines)
    )
    report = packed(source, tmp_path / "out")
    found, (metadata,) = read(tmp_path / "out")
    assert [name for name, _ in found.values()] == ["asha_00050_00175.flac", "ravi-2_00200_00400.flac"]
    assert report.refused == {"beyond_end": 2}
    assert metadata["packed"]["segments"]["ravi-2_00200_00400"]["speaker"] == "ravi/2"
    assert (report.packed, report.segments) == (1, 2)


@pytest.mark.parametrize("own", [20.0, 600.0])
def test_a_long_recording_is_cut_at_speech_and_its_pieces_are_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: float
) -> None:
    monkeypatch.setattr(packer_module, "OWN_ARCHIVE_SECONDS", own)
    rate, parts = 16_000, list[NDArray[Any]]()
    with tarfile.open(next(sample_folder().glob("hi*.tar"))) as tar:
        for name in [name for name in tar.getnames() if name.endswith(".flac")][:4] * 2:
            with suppress(soundfile.LibsndfileError):
                samples, _ = soundfile.read(tar.extractfile(name), dtype="int16")
                parts += [samples, np.zeros(rate, np.int16)]
    whole = np.concatenate(parts)[:, None]
    assert len(whole) > 30 * rate
    write(tmp_path / "mine" / "hi" / "talk.flac", whole)
    report = packed(tmp_path / "mine", tmp_path / "out")
    assert (report.packed, report.lost) == (1, 0), report.examples
    assert report.segments >= 2
    assert abs(report.hours + sum(report.left_out.values()) - len(whole) / rate / 3600) < 0.001
    found, (metadata,) = read(tmp_path / "out")
    assert list(metadata["packed"]["recordings"]) == ["hi/talk.flac"]
    assert next((tmp_path / "out").glob("*.tar")).stem.endswith("_talk" if own < 100 else "_hi_00001")
    for said in metadata["packed"]["segments"].values():
        samples, _ = soundfile.read(io.BytesIO(found[said["id"]][1]), dtype="int16")
        first = round(said["start"] * rate)
        assert (samples == whole[first : first + len(samples), 0]).all()


def test_what_lies_is_refused_by_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "good.wav", noise(2.0))
    data = (tmp_path / "good.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[:20_000])
    (tmp_path / "cut.flac").write_bytes(write(tmp_path / "x.flac", noise(3.0)).read_bytes()[:30_000])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "page.wav").write_bytes(b"<html>404</html>" * 100)
    (tmp_path / "folder.wav").mkdir()
    rows: list[dict[str, Any]] = [
        {"path": "good.wav", "duration": 2.0},
        {"path": "good.wav", "duration": 2.1},
        {"path": "good.wav", "duration": 7.0},
        {"path": "good.wav", "offset": 5.0, "duration": 1.0},
        {"path": "good.wav", "offset": 0.0, "duration": 1.0, "channel": 3},
        {"path": "cut.wav", "duration": 2.0},
        {"path": "cut.flac", "duration": 3.0},
        {"path": "empty.wav"},
        {"path": "page.wav"},
        {"path": "folder.wav"},
        {"path": "missing.wav"},
        {"path": "gopher://x/y"},
    ]
    (tmp_path / "list.jsonl").write_text(
        "\n".join(json.dumps({**row, "id": str(n)}) for n, row in enumerate(rows))
    )
    report = packed(tmp_path / "list.jsonl", tmp_path / "out")
    found, _ = read(tmp_path / "out")
    assert sorted(found) == ["0", "1"]
    assert Counter(report.refused) == {
        "beyond_end": 3, "no_such_channel": 1, "bad_audio": 1, "empty_file": 1, "not_audio": 1, "not_a_file": 1,
        "missing_file": 1, "no_such_url": 1,
    }  # fmt: skip
    assert report.packed + report.lost == report.recordings == len(rows)
    listed = Path(report.refused_list).read_text().splitlines()
    assert len(listed) == 1 + report.lost


def test_the_same_again_adds_what_is_new_and_says_what_has_changed(tmp_path: Path) -> None:
    source, out = tmp_path / "mine", tmp_path / "out"
    for number in range(4):
        write(source / f"{number}.wav", noise(1.0, seed=number))
    first = packed(source, out)
    before = {path: path.read_bytes() for path in out.glob("*.tar")}
    write(source / "new.wav", noise(1.0, seed=9))
    write(source / "2.wav", noise(1.5, seed=9))
    second = packed(source, out)
    assert (first.packed, second.packed, second.packed_before, second.changed) == (4, 1, 4, 1)
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(out.glob("*.tar"))) == 2
    again = packed(source, tmp_path / "out2")
    assert again.packed == 5


def test_many_short_files_fill_archives_up_to_their_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "mine"
    for number in range(12):
        write(source / ("hi" if number % 2 else "ta") / f"{number:02d}.wav", noise(0.5, seed=number))
    limits = ArchiveLimits(segments=4)
    options = packer_module.PackOptions
    monkeypatch.setattr(
        "lipika.jobs.pack.PackOptions", lambda **given: replace(options(**given), limits=limits)
    )
    report = packed(source, tmp_path / "out")
    _, metadata = read(tmp_path / "out")
    told = [(one["language"], len(one["packed"]["segments"])) for one in metadata]
    assert told == [("hi", 4), ("hi", 2), ("ta", 4), ("ta", 2)]
    assert report.archives == 4


def test_a_foreign_tar_of_that_name_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a.wav", noise(1.0))
    packed(tmp_path / "mine", tmp_path / "out")
    (made,) = (tmp_path / "out").glob("*.tar")
    own = made.read_bytes()
    for journal in (tmp_path / "out" / "pack").iterdir():
        journal.unlink()
    packed(tmp_path / "mine", tmp_path / "out")  # as after a kill between archive and journal
    assert made.read_bytes() == own
    for journal in (tmp_path / "out" / "pack").iterdir():
        journal.unlink()
    made.write_bytes(b"somebody else's")
    with pytest.raises(Exception, match="no packing has made it"):
        packed(tmp_path / "mine", tmp_path / "out")
    assert made.read_bytes() == b"somebody else's"


def test_an_archive_holds_any_name_and_any_value(tmp_path: Path) -> None:
    archive = OpenArchive("", tmp_path)
    data = (write(tmp_path / "a.wav", noise(1.0)).read_bytes(), ".wav")
    odd = {"nan": float("nan"), "deep": None, "bytes": b"xy", "surrogate": "a\udcff"}
    for _ in range(40):
        odd["deep"] = [odd["deep"]]  # type: ignore[assignment]
    for speaker in ("../up", ".hidden", "", "a\\b", "क" * 200, "x_00000_00100"):
        archive.add(speaker, (0.0, 1.0), data, {"id": speaker, "columns": odd})
    archive.add("same", (0.0, 1.0), data, {"id": "big", "columns": {"x": "y" * 70_000}})
    archive.add("same", (0.0, 1.0), data, {"id": "twice"})
    stream = io.BytesIO(b"".join(archive.compose("s", "list").chunks()))
    archive.close()
    members = list(read_members(stream))
    assert [member.kind for member in members] == [MemberKind.METADATA, *[MemberKind.SEGMENT] * 8]
    assert all(hasattr(member, "data") for member in members)
    assert archive.columns_left_out == 1


def test_a_set_of_numbers_keeps_them_all() -> None:
    found, numbers = KeySet(), np.random.default_rng(1).integers(0, 2**64, 200_000, np.uint64)
    for number in numbers:
        found.add(int(number))
    assert all(int(number) in found for number in numbers[::97])
    assert not any(int(number) ^ 1 in found for number in numbers[::97])


@pytest.mark.parametrize(
    ("given", "name"),
    [("a/b", "a-b"), ("..", "unknown"), (None, "unknown"), ("  ", "unknown"), ("आशा", "आशा")],
)
def test_names_of_speakers(given: str | None, name: str) -> None:
    assert speaker_name(given) == name


def test_values_and_ids() -> None:
    assert json_value({1: (2**70, float("inf"))}) == {"1": [str(2**70), None]}
    assert video_name("talk 1/हिन्दी v.2") == "talk-1-हिन्दी-v_2"
