"""Verification: a sound export passes, and every planted defect is found and named with its file and line."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_kit import Folder, utterance, write_shard
from foreign_audio import voice, written
from lipika.dataset import clip_checks, formats, verify
from lipika.dataset.defects import CODES
from lipika.dataset.formats import FORMATS
from lipika.dataset.formats.base import Format, TarFile
from lipika.dataset.model import Shard, Utterance
from lipika.dataset.verify import Verification
from lipika.errors import UsageError
from lipika.storage import Store, StoreSettings
from places import ROOT

TARS = ("nemo", "shar", "webdataset")
every_format = pytest.mark.parametrize("name", TARS)
SHARDS = (*(Shard("hi", "train", number, 3) for number in range(3)), Shard("hi", "dev", 0, 1))
PER_SHARD = 3


def clips_of(number: int, shard: Shard) -> list[Utterance]:
    """Clips of a video of their own."""
    clips = [utterance(number * PER_SHARD + at, 0.25, shard=shard) for at in range(PER_SHARD)]
    return [
        replace(clip, row=replace(clip.row, video_id=f"v{number}", speaker=f"v{number}-s")) for clip in clips
    ]


CLIPS = {shard: clips_of(number, shard) for number, shard in enumerate(SHARDS)}


async def verified(root: Path, name: str | None = None, **options: Any) -> Verification:
    settings = StoreSettings()
    store = Store.open(str(root), settings)
    paths = {info.key: info.size async for info in store.list()}
    return await verify.verify(store, settings, paths, name, **{"processes": 1} | options)


def write(chosen: Format, root: Path) -> None:
    for shard, clips in CLIPS.items():
        write_shard(chosen, clips, root, shard)


# ----------------------------------------------------------------------------- shards taken apart


@dataclass
class Loose:
    """A shard in parts that can be spoilt: rows, and audio by name."""

    name: str
    root: Path
    shard: Shard
    rows: list[dict[str, Any]] = field(default_factory=list)
    audio: list[tuple[str, bytes]] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)  # of Shar: recordings

    def __post_init__(self) -> None:
        for name, content in self._members():
            if name.endswith(".json"):
                self.documents[name] = content
            else:
                self.audio.append((name, content))
        if self.table:
            self.rows = [
                json.loads(line) for line in (self.root / self.table).read_text("utf-8").splitlines()
            ]
        else:
            self.rows = [json.loads(content) for content in self.documents.values()]

    @property
    def tar(self) -> str:
        return FORMATS[self.name].audio_path(self.shard, "")

    @property
    def table(self) -> str:
        """The file with the rows; "" where they are in the tar."""
        folder, number = f"{self.shard.language}/{self.shard.split}", self.shard.number
        return {"nemo": f"{folder}/manifest_{number}.json", "shar": f"{folder}/cuts.{number:06d}.jsonl"}.get(
            self.name, ""
        )

    def place(self, at: int) -> str:
        """Of a clip's row."""
        return f"{self.table}:{at + 1}" if self.table else f"{self.tar}: {self.audio[at][0]}"

    def _members(self) -> list[tuple[str, bytes]]:
        with tarfile.open(self.root / self.tar) as tar:
            return [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]

    def words(self, at: int) -> dict[str, Any]:
        """Where a row keeps its text."""
        return self.rows[at]["supervisions"][0] if self.name == "shar" else self.rows[at]

    def save(self) -> None:
        tar = TarFile(self.root / self.tar)
        if self.table:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
            (self.root / self.table).write_text(lines, "utf-8")
        documents = (
            self.documents
            if self.table
            else {f"{row['id']}.json": json.dumps(row).encode() for row in self.rows}
        )
        for name, content in self.audio:
            tar.add(name, content)
            document = name.rpartition(".")[0] + ".json"
            if document in documents:
                tar.add(document, documents.pop(document))
        if not self.table:
            for name, content in documents.items():
                tar.add(name, content)
        tar.close()


Spoil = Callable[[Loose], Mapping[str, object]]
"""Spoils a shard; returns the place of the defect, or all places, by its code."""


def cut_in_half(loose: Loose) -> dict[str, object]:
    path = loose.root / loose.tar
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    if loose.table:
        return {"truncated": loose.tar, "missing_audio": {loose.place(1), loose.place(2)}}
    return {"truncated": loose.tar}


def cut_between_members(loose: Loose) -> dict[str, object]:
    path = loose.root / loose.tar
    path.write_bytes(path.read_bytes()[:-1024])
    return {"truncated": loose.tar}


def lose_audio(loose: Loose) -> dict[str, object]:
    place = loose.place(1) if loose.table else f"{loose.tar}: {loose.rows[1]['id']}.json"
    del loose.audio[1]
    loose.save()
    return {"missing_audio": place} | uneven(loose)


def uneven(loose: Loose) -> dict[str, object]:
    """`datasets` looks at the first samples."""
    return {"uneven_members": loose.tar} if loose.name == "webdataset" else {}


def lose_row(loose: Loose) -> dict[str, object]:
    place = f"{loose.tar}: {loose.audio[1][0]}"
    del loose.rows[1]
    loose.save()
    return {"missing_row": place} | uneven(loose)


def swap_audio(loose: Loose) -> dict[str, object]:
    (first, one), (second, other), *rest = loose.audio
    loose.audio = [(first, other), (second, one), *rest]
    loose.save()
    places = {loose.place(0), loose.place(1)}
    more = (
        {f"{loose.tar}: {row['id']}.json" for row in loose.rows[:2]} if loose.name == "shar" else set[str]()
    )
    return {"swapped_audio": places, "num_samples": places | more, "duration": places}


def swap_audio_of_one_length(loose: Loose) -> dict[str, object]:
    name, samples = loose.audio[1][0], CLIPS[loose.shard][1].num_samples
    loose.audio[1] = (name, written(voice(1, 16_000, seed=77)[:samples], 16_000, "FLAC"))
    loose.save()
    return {"swapped_audio": loose.place(1)}


def damage_audio(loose: Loose) -> dict[str, object]:
    name, content = loose.audio[1]
    loose.audio[1] = (name, content[:-400] + bytes(200) + content[-200:])
    loose.save()
    return {"bad_audio": f"{loose.tar}: {name}"}


def shorten_audio(loose: Loose) -> dict[str, object]:
    name, content = loose.audio[1]
    loose.audio[1] = (name, content[: len(content) // 2])
    loose.save()
    return {"bad_audio": f"{loose.tar}: {name}"}


def round_duration(loose: Loose) -> dict[str, object]:
    loose.rows[1]["duration"] = round(loose.rows[1]["duration"], 3)
    loose.save()
    return {"duration": loose.place(1)}


def state_other_rate(loose: Loose) -> dict[str, object]:
    row = loose.rows[1]["recording"] if loose.name == "shar" else loose.rows[1]
    row["sampling_rate"] = 8_000
    loose.save()
    return {"sample_rate": loose.place(1)}


def empty_text(loose: Loose) -> dict[str, object]:
    loose.words(1)["text"] = " "
    loose.save()
    return {"empty_text": loose.place(1)}


def decompose_text(loose: Loose) -> dict[str, object]:
    loose.words(1)["text"] = "cafe\N{COMBINING ACUTE ACCENT}"
    loose.save()
    return {"not_nfc": loose.place(1)}


def control_character(loose: Loose) -> dict[str, object]:
    loose.words(1)["text"] += "\x07"
    loose.save()
    return {"control_character": loose.place(1)}


def other_language(loose: Loose) -> dict[str, object]:
    loose.words(1)["language" if loose.name != "nemo" else "lang"] = "ta"
    loose.save()
    return {"language": loose.place(1)}


def repeat_id(loose: Loose) -> dict[str, object]:
    """One of this shard gets the id of one in another."""
    other = CLIPS[SHARDS[0]][0].row.id
    old = loose.rows[1]["id"]
    loose.rows[1]["id"] = other
    if loose.name != "nemo":
        loose.audio[1] = (f"{other}.flac", loose.audio[1][1])
        if f"{old}.json" in loose.documents:
            loose.documents[f"{other}.json"] = loose.documents.pop(f"{old}.json")
    loose.save()
    return {"duplicate_id": loose.place(1)}


SPOILS: tuple[Spoil, ...] = (
    cut_in_half, cut_between_members, lose_audio, lose_row, swap_audio, swap_audio_of_one_length, damage_audio,
    shorten_audio, round_duration, state_other_rate, empty_text, decompose_text, control_character, other_language,
    repeat_id,
)  # fmt: skip


@every_format
@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
async def test_a_planted_defect_is_found_with_its_place(name: str, spoil: Spoil, tmp_path: Path) -> None:
    write(FORMATS[name], tmp_path)
    expected = spoil(Loose(name, tmp_path, SHARDS[1]))
    found = await verified(tmp_path)
    assert found.format == name
    assert not found.is_sound
    places: dict[str, set[str]] = {}
    for defect in found.defects:
        places.setdefault(defect.code, set()).add(defect.place)
    assert places == {code: place if isinstance(place, set) else {place} for code, place in expected.items()}
    assert all(defect.code in CODES for defect in found.defects)


@every_format
async def test_a_sound_export_passes(name: str, tmp_path: Path) -> None:
    write(FORMATS[name], tmp_path)
    found = await verified(tmp_path)
    assert (found.defects, found.is_sound) == ([], True)
    seconds = {
        split: sum(
            clip.duration_s for shard, clips in CLIPS.items() if shard.split == split for clip in clips
        )
        for split in ("train", "dev")
    }
    assert {key: amount.clips for key, amount in found.amounts.items()} == {
        ("hi", "train"): 9,
        ("hi", "dev"): 3,
    }
    assert {split: amount.seconds for (_, split), amount in found.amounts.items()} == pytest.approx(seconds)
    document = found.document()
    assert (document["clips"], document["sound"], document["defects"], document["first"]) == (
        12,
        True,
        {},
        [],
    )
    json.dumps(document)


@every_format
async def test_a_shard_that_is_not_there(name: str, tmp_path: Path) -> None:
    write(FORMATS[name], tmp_path)
    loose = Loose(name, tmp_path, SHARDS[1])
    (tmp_path / loose.tar).unlink()
    if loose.table:
        (tmp_path / loose.table).unlink()
    found = await verified(tmp_path)
    places = [(defect.code, defect.place) for defect in found.defects]
    assert places == [("missing_shard", loose.table if name == "shar" else loose.tar)]


@pytest.mark.parametrize("name", TARS[:2])
async def test_half_a_shard_that_is_not_there(name: str, tmp_path: Path) -> None:
    write(FORMATS[name], tmp_path)
    loose, other = Loose(name, tmp_path, SHARDS[1]), Loose(name, tmp_path, SHARDS[2])
    (tmp_path / loose.table).unlink()
    (tmp_path / other.tar).unlink()
    found = await verified(tmp_path)
    places = {defect.code: defect.place for defect in found.defects if defect.code != "missing_shard"}
    assert places == {"missing_row": loose.tar, "missing_audio": other.table}


@every_format
async def test_what_two_splits_have_in_common(name: str, tmp_path: Path) -> None:
    """The clips of the smaller split are named, and where the same is in the larger one."""
    train, dev = CLIPS[SHARDS[1]][1], CLIPS[SHARDS[3]]
    text = f" {train.row.text.upper()}!"
    leaks = [
        replace(dev[0], row=replace(dev[0].row, text=text)),
        replace(train, row=replace(dev[1].row, speaker=train.row.speaker)),
        replace(dev[2], row=replace(dev[2].row, video_id=train.row.video_id)),
    ]
    write(FORMATS[name], tmp_path)
    write_shard(FORMATS[name], leaks, tmp_path, SHARDS[3])
    found = await verified(tmp_path)
    places = {defect.code: defect.place for defect in found.defects}
    loose, other = Loose(name, tmp_path, SHARDS[3]), Loose(name, tmp_path, SHARDS[1])
    assert places == {
        "leak_text": loose.place(0), "leak_audio": loose.place(1), "leak_video": loose.place(2)
    }  # fmt: skip
    by_code = {defect.code: defect.message for defect in found.defects}
    assert other.place(1) in by_code["leak_text"]
    assert "which is in train" in by_code["leak_text"]
    facts = {"format": name, "options": {"group_by": "speaker"}}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    assert (await verified(tmp_path)).counts["leak_speaker"] == 1
    skipped = [replace(clip, row=replace(clip.row, text=text, skip="lane")) for clip in dev]
    write_shard(FORMATS[name], skipped, tmp_path, SHARDS[3])
    assert (await verified(tmp_path)).is_sound


@every_format
async def test_sums_are_held_against_every_file(name: str, tmp_path: Path) -> None:
    write(FORMATS[name], tmp_path)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / ".lipika").mkdir()
    (tmp_path / ".lipika/left.tar").write_bytes(b"no tar")
    paths = [path for path in Folder(tmp_path).paths() if not path.startswith(".")]
    sums = {path: hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() for path in paths}
    lines = [f"{sha256}  {path}\n" for path, sha256 in sums.items()]
    (tmp_path / "SHA256SUMS").write_text("".join(lines) + f"{'0' * 64}  gone.txt\n")
    assert (await verified(tmp_path)).counts == {"missing_file": 1}
    loose = Loose(name, tmp_path, SHARDS[1])
    loose.rows[0]["quality_score"] = 0.5
    loose.save()
    (tmp_path / "README.md").write_text("another card")
    found = await verified(tmp_path, processes=2)
    changed = {loose.table or loose.tar, "README.md"}
    assert {defect.place for defect in found.defects if defect.code == "checksum"} == changed | (
        {loose.tar} if name == "shar" and sums[loose.tar] != _sha256(tmp_path / loose.tar) else set()
    )
    assert set(found.counts) == {"missing_file", "checksum"}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_table_is_verified_too(tmp_path: Path) -> None:
    write(FORMATS["parquet"], tmp_path)
    for name in ("plan", "dropped"):  # no data
        pq.write_table(pa.table({"id": ["a"]}), tmp_path / f"{name}.parquet")
    found = await verified(tmp_path)
    assert (found.format, found.defects, found.clips) == ("parquet", [], 12)
    dev = [replace(clip, row=replace(clip.row, video_id="v1")) for clip in CLIPS[SHARDS[3]]]
    write_shard(FORMATS["parquet"], dev, tmp_path, SHARDS[3])
    assert (await verified(tmp_path)).counts == {"leak_video": 3}
    skipped = [replace(clip, row=replace(clip.row, text="", skip="lane")) for clip in dev]
    write_shard(FORMATS["parquet"], skipped, tmp_path, SHARDS[3])
    assert (await verified(tmp_path)).is_sound


LISTS = {"f5": "audio_file|text\n{root}/wavs/a.wav|नमस्ते\n", "ljspeech": "a|नमस्ते|नमस्ते\n"}


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_is_verified_too(name: str, tmp_path: Path) -> None:
    """Both are called `metadata.csv`: what an export says of itself, or the person, tells them apart."""
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs/a.wav").write_bytes(written(voice(0.5, 16_000), 16_000, "WAV"))
    (tmp_path / "metadata.csv").write_text(LISTS[name].format(root=tmp_path), "utf-8")
    (tmp_path / "dataset.json").write_text(json.dumps({"format": name, "options": {}}))
    found = await verified(tmp_path)
    assert (found.format, found.defects, found.clips) == (name, [], 1)
    (tmp_path / "dataset.json").unlink()
    found = await verified(tmp_path)
    assert (found.format, found.defects, found.clips) == ("ljspeech", [], 1)
    with (tmp_path / "metadata.csv").open("a") as file:
        file.write("a|a|\n" if name == "ljspeech" else "wavs/a.wav|\n")
    found = await verified(tmp_path, name)
    assert set(found.counts) >= {"duplicate_id"}


async def test_only_so_many_of_a_kind_are_told_in_full(tmp_path: Path) -> None:
    clips = [utterance(number, 0.1) for number in range(50)]
    write_shard(FORMATS["nemo"], [replace(clip, row=replace(clip.row, text="")) for clip in clips], tmp_path)
    found = await verified(tmp_path)
    assert found.counts == {"empty_text": 50}
    assert len(found.defects) == verify.FIRST


async def test_headers_alone_do_not_show_damage(tmp_path: Path) -> None:
    write(FORMATS["nemo"], tmp_path)
    damage_audio(Loose("nemo", tmp_path, SHARDS[1]))
    found = await verified(tmp_path, listen=False)
    assert found.is_sound
    assert found.clips == 12


async def test_what_is_no_dataset_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UsageError, match=r"no format fits its files; say --format \(nemo, shar, "):
        await verified(tmp_path)
    with pytest.raises(UsageError, match="there is no format 'mp3': choose one of nemo"):
        await verified(tmp_path, "mp3")
    assert (await verified(tmp_path, "nemo")).counts == {"no_clips": 1}


async def test_two_datasets_in_one_folder_are_not_guessed_at(tmp_path: Path) -> None:
    write(FORMATS["nemo"], tmp_path / "a")
    write(FORMATS["shar"], tmp_path / "b")
    with pytest.raises(UsageError, match="this could be nemo or shar"):
        await verified(tmp_path)
    assert (await verified(tmp_path, "shar")).clips == 12


# ----------------------------------------------------------------------------- codes


def test_every_code_is_explained() -> None:
    """Codes are second arguments of `Defect`, or what a check yields with its message."""
    folder = Path(verify.__file__).parent
    codes = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            pair: list[ast.expr] = []
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Defect", "self._say"}:
                pair = node.args[1:2]
            elif (
                isinstance(node, ast.Yield)
                and isinstance(node.value, ast.Tuple)
                and file.stem == "clip_checks"
            ):
                pair = node.value.elts[:1]
            codes |= {one.value for one in pair if isinstance(one, ast.Constant)}
    assert len(codes) > 30
    assert codes <= CODES.keys()


def test_the_page_lists_every_code() -> None:
    page = (ROOT / "docs/datasets.md").read_text("utf-8")
    rows = dict(
        line.strip("| ").split(" | ", 1)
        for line in page.splitlines()
        if line.startswith("| `") and " | " in line.strip("| ")
    )
    assert {f"`{code}`": sentence for code, sentence in CODES.items()}.items() <= rows.items()


def test_sentences_are_compared_as_an_export_does() -> None:
    assert clip_checks.bare_text("  Hello, WORLD 3.5!  ") == "hello world 3 5"
    assert clip_checks.bare_text("नमस्ते, दुनिया।") == "नमस्ते दुनिया"
    assert clip_checks.bare_text("...") == ""
    assert clip_checks.bare_text("क्\u200dष\u00ad \ufeff\u200bजी") == "क्ष जी"


PLAN_SQL = (ROOT / "src/lipika/dataset/plan.sql").read_text("utf-8")
_SEEN = st.characters(codec="utf-8", categories=["L", "M", "N", "P", "S", "Zs", "Cf"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(_SEEN, max_size=12), min_size=1, max_size=30))
def test_the_same_sentences_are_the_same_for_plan_and_verification(texts: list[str]) -> None:
    """The one has its rule in SQL, the other in Python."""
    (rule,) = re.findall(r"md5_number_lower\(nullif\((trim\(.*\)), ''\)\) as said", PLAN_SQL)
    with duckdb.connect() as connection:
        connection.register("clips", pa.table({"text": texts}))
        found = connection.execute(f"select {rule} from clips").fetchall()  # noqa: S608 - a rule of ours
    assert [bare for (bare,) in found] == [clip_checks.bare_text(text) for text in texts]


def test_formats_are_found_by_their_names() -> None:
    assert all(name == found.name for name, found in formats.FORMATS.items())
