"""Lhotse's cuts and Shar folders, in the form in which lhotse 1.33 writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from corpus_kit import RATE, bytes_at, lines, sound, taken, tar
from lipika.packing.items import Label
from lipika.packing.sources.lhotse import LhotseSource, SharSource, is_cuts


def cut(name: str, source: str = "a.wav", kind: str = "file", **changes: Any) -> dict[str, Any]:
    recording = {
        "id": "rec",
        "sources": [{"type": kind, "channels": [0], "source": source}],
        "sampling_rate": RATE,
        "num_samples": 2 * RATE,
        "duration": 2.0,
        "channel_ids": [0],
    }
    return {
        "id": name,
        "start": 0.0,
        "duration": 2.0,
        "channel": 0,
        "supervisions": [],
        "recording": recording | changes.pop("recording", {}),
        "type": "MonoCut",
        **changes,
    }


def said(start: float, duration: float, **more: Any) -> dict[str, Any]:
    return {
        "id": f"s{start:g}",
        "recording_id": "rec",
        "start": start,
        "duration": duration,
        "channel": 0,
        **more,
    }


@pytest.mark.parametrize("name", ["cuts_train.jsonl", "cuts_train.jsonl.gz"])
def test_cuts_are_stretches_and_their_supervisions_references_or_labels(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_bytes(sound(1, 2.0))
    two = {"sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}]}
    path = lines(
        tmp_path / name,
        [
            cut("whole", supervisions=[said(0, 2.0, text="दो", language="hi", speaker="s1", custom={"snr": 3})],
                custom={"dataset": "x"}),
            cut("part", start=0.5, duration=1.0, channel=1, recording=two,
                supervisions=[said(0.0, 0.25, text="एक"), said(0.5, 0.7, text="और आगे", speaker="s2")]),
        ],
    )  # fmt: skip
    assert is_cuts(path)
    items, refused = taken(LhotseSource(str(path)))
    assert refused == []
    whole, part = items.values()
    assert (whole.audio.place, whole.start, whole.end) == (str(tmp_path / "a.wav"), 0.0, None)
    assert (whole.text, whole.language, whole.speaker, whole.split) == ("दो", "hi", "s1", "train")
    assert whole.columns == {"dataset": "x", "snr": 3}
    assert (part.start, part.end, part.channel) == (0.5, 1.5, 1)
    assert part.labels == (
        Label(0.5, 0.75, text="एक", columns={"id": "s0"}),
        Label(1.0, 1.5, speaker="s2", columns={"id": "s0.5", "text_beyond_cut": "और आगे"}),
    )


def test_what_only_lhotse_can_hear_is_refused_by_its_kind(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "cuts.jsonl",
        [
            cut("command", "sph2pipe a.sph |", "command"),
            cut("memory", "AAAA", "memory"),
            cut("shar", "", "shar"),
            cut("faster", recording={"transforms": [{"name": "Speed", "kwargs": {"factor": 1.1}}]}),
            cut("resampled", recording={"transforms": [{"name": "Resample", "kwargs": {}}]}),
            {"id": "mixed", "type": "MixedCut", "tracks": []},
            {"id": "padding", "type": "PaddingCut", "duration": 1},
            {"id": "multi", "type": "MultiCut"},
            cut("channel", channel=3),
            cut("long", duration="x"),
            {"id": "bare", "type": "MonoCut"},
        ],
    )
    items, refused = taken(LhotseSource(str(path)))
    assert list(items) == ["resampled"]
    assert [reason for _, reason in refused] == [
        "command_source", "in_memory_audio", "shar_placeholder", "changed_audio", "mixed_cut", "padding_cut",
        "multi_channel_cut", "bad_row", "bad_row", "bad_row",
    ]  # fmt: skip


@pytest.mark.parametrize("packed", ["", ".gz"], ids=["plain", "packed"])
def test_a_shar_folder_gives_audio_out_of_its_tars(tmp_path: Path, packed: str) -> None:
    names = [f"v.{at}" for at in range(5)]
    pairs: dict[str, bytes] = {}
    for at, name in enumerate(names):
        told = {"id": name, "sampling_rate": RATE, "num_samples": RATE, "duration": 1.0, "sources": []}
        pairs |= {f"{name}.flac": sound(at, kind="FLAC"), f"{name}.json": orjson.dumps(told)}
    pairs["v.2.nodata"], pairs["v.2.nometa"] = b"", b""
    del pairs["v.2.flac"], pairs["v.2.json"]
    tar(tmp_path / f"hi/train/recording.000000.tar{packed}", pairs | {"x.flac": b"", "x.json": b"{}"})
    rows = [cut(name, "", "shar", duration=1.0, supervisions=[said(0, 1.0, text=name)]) for name in names]
    lines(
        tmp_path / f"hi/train/cuts.000000.jsonl{packed}",
        [*rows[:3], rows[4], rows[3], cut("gone", "", "shar")],
    )
    lines(tmp_path / "hi/train/note.000000.jsonl", [{"cut_id": "v.0", "note": "good"}, {"cut_id": "v.1"}])
    lines(tmp_path / "hi/train/cuts.000001.jsonl", [cut("lonely", "", "shar")])
    items, refused = taken(SharSource(str(tmp_path)))
    assert list(items) == ["v.0", "v.1", "v.4", "v.3"]
    for name, item in items.items():
        assert bytes_at(item.audio) == sound(int(name[-1]), kind="FLAC")
        assert (item.text, item.split, item.end) == (name, "train", None)
    assert items["v.0"].columns == {"note": "good"}
    assert [reason for _, reason in refused] == ["missing_member", "missing_member", "no_row", "missing_file"]
