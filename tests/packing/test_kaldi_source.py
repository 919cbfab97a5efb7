"""Kaldi's data folders: what they say, and commands that are never run."""

from __future__ import annotations

from pathlib import Path

from corpus_kit import bytes_at, sound, taken
from lipika.packing.sources.kaldi import KaldiSource


def folder(path: Path, **lists: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (path / name.replace("_scp", ".scp")).write_text(text)
    return path


def test_utterances_come_with_all_lists_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sound(1, 3.0))
    folder(
        tmp_path / "data/train_hi",
        wav_scp=f"r2 {tmp_path}/b.wav\nr1\t{tmp_path}/a.wav\n",
        segments="s1-1 r1 0.5 1.25\ns1-2 r1 1.25 -1\ns2-1 r9 0 1\nbroken r1 x y\ns2-2 r1 2 1\n",
        text="s1-2 दूसरा  वाक्य\ns1-1 पहला\n",
        utt2spk="s1-1 s1\ns1-2 s1\n",
        utt2lang="s1-1 hi\ns1-2 hi\n",
        spk2gender="s1 f\n",
        utt2snr="s1-2 17.5\n",
        utt2dur="s1-1 0.75\n",
        reco2file_and_channel="r1 a B\n",
    )
    items, refused = taken(KaldiSource(str(tmp_path / "data")))
    first, second = items.values()
    assert (first.name, first.start, first.end, first.channel) == ("s1-1", 0.5, 1.25, 1)
    assert (first.text, first.speaker, first.language, first.split) == ("पहला", "s1", "hi", "train")
    assert first.columns == {"gender": "f", "recording": "r1"}
    assert (second.start, second.end, second.text) == (1.25, None, "दूसरा  वाक्य")
    assert second.columns["snr"] == "17.5"
    assert refused == [
        ("train_hi/segments:3", "missing_recording"),
        ("train_hi/segments:4", "bad_row"),
        ("train_hi/segments:5", "bad_row"),
    ]


def test_commands_are_understood_or_refused_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "my file.flac").write_bytes(sound(1, kind="FLAC"))
    (tmp_path / "x.ark").write_bytes(b"u1 " + (first := sound(2)) + b"u2 " + sound(3))
    made = tmp_path / "made"
    scp = [
        "u1 'my file.flac'",
        "u2 cat 'my file.flac' |",
        "u3 flac -c -d -s 'my file.flac' |",
        "u4 flac -cds --skip=10 'my file.flac' |",
        "u5 sox a.mp3 -t wav - |",
        "u6 sph2pipe -f wav -p -c 1 a.sph |",
        f"u7 cat a.wav; touch {made} |",
        f"u8 cat $(touch {made}) |",
        "u9 x.ark:3",
        "v1 x.ark:5",
        "v2 -",
        "v3",
    ]
    folder(tmp_path, wav_scp="\n".join(scp).replace("u1 'my file.flac'", "u1 my file.flac"))
    items, refused = taken(KaldiSource(str(tmp_path)))
    assert list(items) == ["u1", "u2", "u3", "u9"]
    assert {items[name].audio.place for name in ("u1", "u2", "u3")} == {str(tmp_path / "my file.flac")}
    assert bytes_at(items["u9"].audio) == first
    assert [reason for _, reason in refused] == ["command"] * 5 + ["not_audio", "bad_row", "bad_row"]
    assert not made.exists()
