"""Corpora written by the libraries that own their forms, and what these libraries hear in them.

`python -m loaders.writers FOLDER` in an environment that has them makes `FOLDER/<corpus>/` and `FOLDER/truth.json`:
for each corpus its source, versions, and (id, rate, SHA-256 of 16-bit samples, text) of each item by its own reader.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATES = (16_000, 44_100, 8_000, 22_050, 48_000)
Item = dict[str, object]


def main() -> None:
    """Make all corpora; one whose library is not there, or fails, is said to be so."""
    root = Path(sys.argv[1]).resolve()
    recordings = list(_recordings(root / "wavs"))
    truth: dict[str, object] = {}
    for make in (nemo, nemo_tarred, lhotse, shar, kaldi, huggingface, saved, webdataset):
        name = make.__name__
        try:
            source, libraries, items = make(root / name, recordings)
            truth[name] = {
                "source": str(source),
                "versions": {library: version(library) for library in libraries},
                "items": items,
            }
        except Exception as error:  # the report says it
            truth[name] = {"error": f"{type(error).__name__}: {error}"[:400]}
    (root / "truth.json").write_text(json.dumps(truth, ensure_ascii=False, indent=1))


Made = tuple[Path, tuple[str, ...], list[Item]]


def _recordings(folder: Path) -> Iterator[tuple[Path, str]]:
    """Twelve recordings of odd lengths and many rates, with a text each."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(12):
        rate = RATES[at % len(RATES)]
        noise = np.random.default_rng(at).integers(-9_000, 9_000, rate + 37 * at + at % 3).astype(np.int16)
        path = folder / f"clip.{at}.{'flac' if at % 2 else 'wav'}"
        soundfile.write(path, noise, rate, subtype="PCM_16")
        yield path, f"वाक्य {at}"


def item(name: str, samples: Any, rate: int, text: str | None) -> Item:
    """One item as its library hears it; floats of 16-bit audio are whole numbers again."""
    whole = np.rint(np.asarray(samples).reshape(-1) * 32_768).astype(np.int16)
    return {
        "id": name,
        "rate": rate,
        "sha256": hashlib.sha256(whole.tobytes()).hexdigest(),
        "text": text or None,
    }


def _heard_bytes(name: str, data: bytes, text: str) -> Item:
    samples, rate = soundfile.read(io.BytesIO(data))
    return item(name, samples, rate, text)


def _rows(recordings: list[tuple[Path, str]]) -> Iterator[dict[str, Any]]:
    for at, (path, text) in enumerate(recordings):
        about = soundfile.info(path)
        row = {
            "audio_filepath": str(path),
            "duration": about.duration,
            "text": text,
            "lang": "hi",
            "speaker": "s",
        }
        yield row
        if at % 3 == 0:
            yield {**row, "offset": 0.25, "duration": 0.5, "text": f"{text} half"}
    yield {**row, "_skipme": "empty_audio"}


def nemo(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """Manifest by NeMo's own writer."""
    from nemo.collections.asr.parts.utils.manifest_utils import write_manifest
    from nemo.collections.common.data.lhotse.nemo_adapters import LazyNeMoIterator

    folder.mkdir()
    path = folder / "train_manifest.json"
    write_manifest(path, list(_rows(recordings)), ensure_ascii=False)
    items = []
    for cut in LazyNeMoIterator(str(path)):
        part = "#0.25" if cut.duration < cut.recording.duration else ""
        name = f"{cut.recording.sources[0].source}{part}"
        items.append(item(name, cut.load_audio(), cut.sampling_rate, cut.supervisions[0].text))
    return path, ("nemo_toolkit", "lhotse"), items


def nemo_tarred(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """A tarred set in the form of NeMo's converter, which is in no wheel; heard by NeMo's own reader."""
    from nemo.collections.common.data.lhotse.nemo_adapters import LazyNeMoTarredIterator

    folder.mkdir()
    (folder / "sharded_manifests").mkdir()
    names: dict[int, list[str]] = {0: [], 1: []}
    for shard, found in names.items():
        rows = []
        with tarfile.open(folder / f"audio_{shard}.tar", "w") as tar:
            for at, (path, text) in enumerate(recordings[shard::2]):
                member = f"{path.stem.replace('.', '_')}{path.suffix}"
                tar.add(path, member)
                row = {"audio_filepath": member, "duration": soundfile.info(path).duration, "text": text}
                rows.append({**row, "lang": "hi", "shard_id": shard})
                found.append(member)
                if at == 1:
                    copy = f"{path.stem.replace('.', '_')}-sub1{path.suffix}"
                    rows.append({**rows[-1], "audio_filepath": copy, "offset": 0.25, "duration": 0.5})
                    found.append(copy)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"sharded_manifests/manifest_{shard}.json").write_text(lines)
    heard = LazyNeMoTarredIterator(
        str(folder / "sharded_manifests/manifest__OP_0..1_CL_.json"), str(folder / "audio__OP_0..1_CL_.tar")
    )
    order = [
        name for shard in sorted(names) for name in sorted(names[shard], key=_member_order(names[shard]))
    ]
    cuts = list(heard)
    items = [
        item(name, cut.load_audio(), cut.sampling_rate, cut.supervisions[0].text)
        for name, cut in zip(order, cuts, strict=True)
    ]
    return folder, ("nemo_toolkit", "lhotse"), items


def _member_order(names: list[str]) -> Callable[[str], tuple[int, str]]:
    """NeMo gives members in the tar's order, and rows of one member by name."""
    wholes = [name for name in names if "-sub" not in name]
    return lambda name: (wholes.index(name.replace("-sub1", "")), name)


def _cuts(recordings: list[tuple[Path, str]]) -> Any:
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    cuts = []
    for at, (path, text) in enumerate(recordings):
        recording = Recording.from_file(path)
        said = SupervisionSegment(
            f"sup{at}", recording.id, 0, recording.duration, text=text, language="hi", speaker=f"s{at % 3}"
        )
        cut = MonoCut(f"cut.{at}", 0, recording.duration, 0, supervisions=[said], recording=recording)
        cuts.append(cut)
        if at % 3 == 0:
            part = cut.drop_supervisions().truncate(offset=0.2, duration=0.437)
            cuts.append(part.with_id(f"cut.{at}.part"))
    return CutSet.from_cuts(cuts)


def _cut_items(cuts: Any) -> list[Item]:
    return [
        item(
            cut.id,
            cut.load_audio(),
            cut.sampling_rate,
            cut.supervisions[0].text if cut.supervisions else None,
        )
        for cut in cuts
    ]


def lhotse(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """Cuts, with some that are no plain stretch."""
    from lhotse import CutSet

    folder.mkdir()
    plain = list(_cuts(recordings))
    odd = [plain[0].pad(duration=9.0).with_id("padded"), plain[1].perturb_speed(1.1).with_id("faster")]
    path = folder / "cuts_train.jsonl.gz"
    CutSet.from_cuts([*plain, *odd]).to_file(path)
    return path, ("lhotse",), _cut_items(plain)


def shar(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """Shar by lhotse's own writer."""
    from lhotse import CutSet

    folder.mkdir()
    _cuts(recordings).to_shar(folder, fields={"recording": "flac"}, shard_size=5)
    return folder, ("lhotse",), _cut_items(CutSet.from_shar(in_dir=folder))


def kaldi(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """A data folder by lhotse's export; heard by its import."""
    from lhotse import RecordingSet, SupervisionSet
    from lhotse.kaldi import export_to_kaldi, load_kaldi_data_dir

    plain = [cut for cut in _cuts(recordings) if cut.supervisions and cut.sampling_rate == RATES[0]]
    folder.mkdir()
    wavs = [cut for cut in plain if cut.recording.sources[0].source.endswith(".wav")]
    export_to_kaldi(
        RecordingSet.from_recordings(cut.recording for cut in wavs),
        SupervisionSet.from_segments(
            said.with_offset(0.1).trim(0.9) for cut in wavs for said in cut.supervisions
        ),
        folder,
    )
    found, supervisions, _ = load_kaldi_data_dir(folder, RATES[0])
    items = [
        item(
            said.id,
            found[said.recording_id].load_audio(offset=said.start, duration=said.duration),
            RATES[0],
            said.text,
        )
        for said in supervisions
    ]
    return folder, ("lhotse",), items


def _dataset(recordings: list[tuple[Path, str]]) -> Any:
    from datasets import Audio, Dataset

    rows = {
        "audio": [{"bytes": path.read_bytes(), "path": path.name} for path, _ in recordings],
        "sentence": [text for _, text in recordings],
        "locale": ["hi"] * len(recordings),
    }
    return Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))


def _heard(rows: Any) -> list[Item]:
    return [_heard_bytes(row["audio"]["path"], row["audio"]["bytes"], row["sentence"]) for row in rows]


def huggingface(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """A dataset's folder of Parquet."""
    from datasets import load_dataset

    (folder / "data/hi").mkdir(parents=True)
    made = _dataset(recordings)
    for at in range(2):
        made.shard(2, at).to_parquet(folder / f"data/hi/train-{at:05d}-of-00002.parquet")
    cache = str(folder.parent / "cache")
    return folder, ("datasets", "pyarrow"), _heard(load_dataset(str(folder), split="train", cache_dir=cache))


def saved(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """By `save_to_disk`."""
    from datasets import DatasetDict, load_from_disk

    DatasetDict({"train": _dataset(recordings)}).save_to_disk(folder)
    return folder, ("datasets", "pyarrow"), _heard(load_from_disk(folder)["train"])


def webdataset(folder: Path, recordings: list[tuple[Path, str]]) -> Made:
    """Shards by webdataset's own writer; keys have no dots, or it could not tell them apart itself."""
    import webdataset as wds

    folder.mkdir()
    with wds.ShardWriter(str(folder / "hi-train-%06d.tar"), maxcount=5, verbose=0) as writer:
        for path, text in recordings:
            key = path.stem.replace(".", "_")
            writer.write(
                {"__key__": key, path.suffix[1:]: path.read_bytes(), "json": {"text": text, "lang": "hi"}}
            )
    items = []
    for sample in wds.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False):
        data = sample.get("wav") or sample["flac"]
        told = json.loads(sample["json"])
        items.append(_heard_bytes(sample["__key__"], data, told["text"]))
    return folder, ("webdataset",), items


if __name__ == "__main__":
    main()
