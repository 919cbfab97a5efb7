"""NeMo's manifests and tarred sets, those of its converter and of NeMo Curator."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus_kit import bytes_at, lines, sound, taken, tar
from lipika.packing.sources.nemo import NemoSource, is_manifest


def test_rows_are_recordings_or_stretches_with_all_that_they_say(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs/a.wav").write_bytes(sound(1))
    manifest = lines(
        tmp_path / "train_manifest.json",
        [
            {"audio_filepath": "wavs/a.wav", "duration": 1.0, "text": "एक", "lang": "hi", "speaker": 7, "snr": 21.5},
            {"audio_filepath": "wavs/a.wav", "offset": 0.25, "duration": 0.5, "text": "-", "source_lang": "ta"},
            {"audio_filepath": "s3://bucket/b.flac", "duration": 2, "text": "hello", "source_lang": "hi",
             "target_lang": "en", "pred_text": "हैलो"},
            "{broken",
            "[1]",
            {"duration": 3.0, "text": "nowhere"},
            {"audio_filepath": "wavs/a.wav", "offset": "soon", "duration": 1},
            {"audio_filepath": "wavs/a.wav", "duration": 1, "_skipme": "empty_audio"},
            {"audio_filepath": "wavs/a.wav", "duration": 1, "_skip_me": 1},
            {"audio_filepath": "wavs/a.wav", "duration": 1, "_skipme": False, "id": "kept"},
        ],
    )  # fmt: skip
    assert is_manifest(manifest)
    items, refused = taken(NemoSource(str(manifest)))
    assert list(items) == ["wavs/a.wav", "wavs/a.wav#0.25", "s3://bucket/b.flac", "kept"]
    whole, part, abroad, _ = items.values()
    assert (whole.audio.place, whole.start, whole.end) == (str(tmp_path / "wavs/a.wav"), 0.0, None)
    assert (whole.language, whole.speaker, whole.text, whole.split) == ("hi", "7", "एक", "train")
    assert whole.columns == {"audio_filepath": "wavs/a.wav", "duration": 1.0, "snr": 21.5}  # as it was
    assert (part.start, part.end, part.text, part.language) == (0.25, 0.75, None, "ta")
    assert abroad.text is None  # in another language: no reference for what is spoken
    assert abroad.columns["translation"] == "hello"
    assert abroad.columns["pred_text"] == "हैलो"
    assert [reason for _, reason in refused] == ["bad_row"] * 4 + ["skipme"] * 2
    assert refused[0][0] == "train_manifest.json:4"


@pytest.mark.parametrize("sharded", [True, False], ids=["a manifest a shard", "one for all"])
def test_a_tarred_set_gives_members_by_their_place(tmp_path: Path, sharded: bool) -> None:
    shards: list[list[dict[str, object]]] = []
    for shard in range(2):
        members = {f"{shard}_{at}.wav": sound(10 * shard + at) for at in range(3)}
        tar(tmp_path / f"audio_{shard}.tar", members | {f"{shard}_extra.wav": sound(99)})
        rows: list[dict[str, object]] = [
            {"audio_filepath": name, "duration": 1.0, "text": name, "shard_id": shard} for name in members
        ]
        rows.append({**rows[0], "audio_filepath": f"{shard}_0-sub1.wav", "offset": 0.5, "duration": 0.25})
        rows.append({**rows[0], "audio_filepath": f"{shard}_gone.wav"})
        shards.append(rows)
    lines(tmp_path / "tarred_audio_manifest.json", [row for rows in shards for row in rows])
    if sharded:
        for shard, rows in enumerate(shards):
            lines(tmp_path / f"sharded_manifests/manifest_{shard}.json", rows)
    items, refused = taken(NemoSource(str(tmp_path)))
    assert len(items) == 8
    for shard in range(2):
        for at in range(3):
            item = items[f"{shard}_{at}.wav"]
            assert bytes_at(item.audio) == sound(10 * shard + at)
            assert (item.end, item.group) == (None, f"audio_{shard}.tar")
            assert item.columns == {"audio_filepath": item.name, "duration": 1.0, "shard_id": shard}
        copy = items[f"{shard}_0-sub1.wav"]
        assert bytes_at(copy.audio) == sound(10 * shard)
        assert (copy.start, copy.end) == (0.5, 0.75)
    assert sorted(reason for _, reason in refused) == ["missing_member"] * 2 + ["no_row"] * 2


def test_patterns_unfinished_shards_and_damage_are_told(tmp_path: Path) -> None:
    for shard in range(3):
        tar(
            tmp_path / f"audio_{shard}.tar", {f"{shard}.wav": sound(shard), f"{shard}b.wav": sound(shard + 5)}
        )
        lines(
            tmp_path / f"manifest_{shard}.jsonl",
            [{"audio_filepath": f"./{shard}{end}.wav", "duration": 1.0} for end in ("", "b")],
        )
    data = (tmp_path / "audio_1.tar").read_bytes()
    (tmp_path / "audio_1.tar").write_bytes(data[: 512 + 1_024])
    lines(tmp_path / "manifest_3.jsonl", [{"audio_filepath": "3.wav", "duration": 1.0}])
    items, refused = taken(NemoSource(str(tmp_path / "manifest__OP_0..3_CL_.jsonl")))
    assert list(items) == ["./0.wav", "./0b.wav", "./2.wav", "./2b.wav"]
    assert [reason for _, reason in refused] == [
        "damaged_archive",
        "missing_member",
        "missing_member",
        "missing_file",
    ]
    alone, refused = taken(NemoSource(str(tmp_path / "manifest_2.jsonl")))
    assert (list(alone), refused) == (["./2.wav", "./2b.wav"], [])
    for shard in (0, 1):
        (tmp_path / f"manifest_{shard}.jsonl.done").touch()
    items, refused = taken(NemoSource(str(tmp_path)))
    assert list(items) == ["./0.wav", "./0b.wav"]
    assert refused[:2] == [("manifest_2.jsonl", "unfinished_shard"), ("manifest_3.jsonl", "unfinished_shard")]
