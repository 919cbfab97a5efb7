"""Archives as people, tools and attackers make them: what comes out, and that nothing else does."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from lipika.archive.members import (
    END_OF_ARCHIVE,
    BadMember,
    BinaryReader,
    Member,
    MemberKind,
    TarLimits,
    member_header,
    member_size,
    padding,
    parse_metadata,
    read_folder,
    read_members,
)
from lipika.audio import recording
from lipika.errors import ArchiveError
from lipika.models import SegmentName

FLAC = b"fLaC" + bytes(100)
GOOD = "segments/speaker0_00000_00850.flac"


def tar(*members: tuple[str | tarfile.TarInfo, bytes], fmt: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive as Python's own tarfile writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def raw_header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A ustar header with any bytes for the size field, and a checksum that holds."""
    block = bytearray(member_header("x", 0))
    block[:100] = name.ljust(100, b"\0")
    block[124:136] = size
    block[156:157] = kind
    return with_checksum(block)


def with_checksum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def read(data: bytes, limits: TarLimits | None = None) -> list[Member | BadMember]:
    return list(read_members(io.BytesIO(data), limits or TarLimits()))


def members(data: bytes, limits: TarLimits | None = None) -> list[str]:
    return [m.name for m in read(data, limits) if isinstance(m, Member)]


def bad(data: bytes, limits: TarLimits | None = None) -> list[tuple[str, MemberKind]]:
    return [(m.code, m.kind) for m in read(data, limits) if isinstance(m, BadMember)]


def failure(reader: BinaryReader, limits: TarLimits | None = None) -> tuple[list[str], ArchiveError]:
    """What came before the damage, and the error."""
    seen: list[str] = []
    with pytest.raises(ArchiveError) as caught:
        seen.extend(member.name for member in read_members(reader, limits or TarLimits()))
    return seen, caught.value


class Pipe:
    """A stream that cannot seek, gives at most `step` bytes at a time and watches what it is asked for."""

    def __init__(self, data: bytes, step: int = 1 << 30) -> None:
        self._file, self._step = io.BytesIO(data), step
        self.largest = self.calls = 0

    def read(self, size: int, /) -> bytes:
        self.largest, self.calls = max(self.largest, size), self.calls + 1
        return self._file.read(min(size, self._step))


class Zeros:
    """After `head` an endless row of zeros, which may be skipped by seeking or not."""

    def __init__(self, head: bytes, size: int, *, seekable: bool) -> None:
        self.size, self.position, self.read_bytes = size, 0, 0
        self._head, self._seekable = head, seekable

    def read(self, size: int, /) -> bytes:
        size = max(0, min(size, self.size - self.position))
        data = self._head[self.position : self.position + size].ljust(size, b"\0")
        self.position += size
        self.read_bytes += size
        return data

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = 0, /) -> int:
        assert whence == 1
        self.position += offset
        return self.position


# ----------------------------------------------------------------------------- good archives


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("folder", ["", "./", "video-1/", "./video-1/"])
def test_metadata_may_come_first_last_or_not_at_all(fmt: int, folder: str) -> None:
    meta, segment = (f"{folder}metadata.json", b'{"language": "hi"}'), (folder + GOOD, FLAC)
    names = ["metadata.json", "speaker0_00000_00850.flac"]
    assert members(tar(meta, segment, fmt=fmt)) == names
    assert members(tar(segment, meta, fmt=fmt)) == names[::-1]
    assert members(tar(segment, fmt=fmt)) == names[1:]


def test_a_member_carries_its_parsed_name_kind_and_bytes() -> None:
    meta, segment = read(tar(("metadata.json", b"{}"), (GOOD, FLAC)))
    assert isinstance(segment, Member)
    assert segment.segment == SegmentName("speaker0", 0, 850)
    assert (segment.kind, segment.data) == (MemberKind.SEGMENT, FLAC)
    assert isinstance(meta, Member)
    assert (meta.kind, meta.data) == (MemberKind.METADATA, b"{}")


@pytest.mark.parametrize("step", [1, 7, 511, 4096])
def test_short_reads_are_joined(step: int) -> None:
    data = tar(("metadata.json", b"{}"), (GOOD, FLAC * 20))
    assert list(read_members(Pipe(data, step))) == read(data)


def test_folders_and_hidden_files_are_passed_over() -> None:
    noise: list[tuple[str | tarfile.TarInfo, bytes]] = [
        (special("segments", tarfile.DIRTYPE), b""),
        (".DS_Store", b"x"),
        ("._metadata.json", b"x"),
        ("segments/._speaker0_00000_00850.flac", b"\0\x05\x16\x07"),
        (GOOD, FLAC),
    ]
    assert read(tar(*noise)) == read(tar((GOOD, FLAC)))


def test_unrelated_members_are_named_but_cost_nothing() -> None:
    assert bad(tar(("README.md", b"x"), ("transcriptions/a.json", b"{}"), (GOOD, FLAC))) == [
        ("ignored", MemberKind.OTHER),
        ("ignored", MemberKind.OTHER),
    ]


@pytest.mark.parametrize("content", [FLAC, b"RIFF\0\0\0\0WAVE", b"OggS\0\0", b"ID3\x04", b"\xff\xfb\x90\x64"])
def test_audio_is_known_by_its_first_bytes(content: bytes) -> None:
    assert members(tar((GOOD, content))) == ["speaker0_00000_00850.flac"]


def test_long_and_non_ascii_names_are_read_in_every_format() -> None:
    stem = f"{'वक्ता' * 12}_00000_00850"
    for fmt in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        (member,) = read(tar((f"video/segments/{stem}.flac", FLAC), fmt=fmt))
        assert isinstance(member, Member)
        assert member.segment.stem == stem
    prefixed = f"{'v' * 90}/segments/speaker0_00000_00850.flac"  # needs ustar's prefix field
    assert members(tar((prefixed, FLAC), fmt=tarfile.USTAR_FORMAT)) == ["speaker0_00000_00850.flac"]


def test_v7_headers_without_magic_are_read() -> None:
    folder, block = bytearray(member_header("segments/", 0)), bytearray(member_header(GOOD, len(FLAC)))
    for header in (folder, block):
        header[156:157], header[257:512] = b"\0", bytes(255)
    data = with_checksum(folder) + with_checksum(block) + FLAC + padding(len(FLAC)) + END_OF_ARCHIVE
    assert read(data) == read(tar((GOOD, FLAC)))


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs a tar command")
@pytest.mark.parametrize("fmt", ["v7", "ustar", "gnu", "pax"])
def test_reads_what_the_tar_command_writes(tmp_path: Path, fmt: str) -> None:
    video = tmp_path / "video 1"
    (video / "segments").mkdir(parents=True)
    (video / "metadata.json").write_bytes(b"{}")
    for i in range(5):
        (video / f"segments/speaker0_{i:05d}_{i + 1:05d}.flac").write_bytes(FLAC * (i + 1))
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", f"--format={fmt}", "-cf", archive, "-C", tmp_path, "video 1"], check=True)
    got = read(archive.read_bytes())
    assert sorted(m.name for m in got) == [
        "metadata.json",
        *(f"speaker0_{i:05d}_{i + 1:05d}.flac" for i in range(5)),
    ]
    assert all(isinstance(m, Member) for m in got)


# ----------------------------------------------------------------------------- archives as the world makes them

TWO = ("speaker0_00000_00850.flac", "speaker1_00000_00100.flac")
TOOLS = pytest.mark.parametrize("tool", ["tar", "bsdtar"])


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A folder with a video's files, as people have them."""
    (tmp_path / "data/video_1/segments").mkdir(parents=True)
    (tmp_path / "data/video_1/metadata.json").write_text('{"language": "hi"}')
    for name in TWO:
        (tmp_path / "data/video_1/segments" / name).write_bytes(FLAC * 20)
    return tmp_path


def made_by(tool: str, *words: str | Path, cwd: Path) -> bytes:
    """What a tar command writes to its standard output."""
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    return subprocess.run([tool, *words], check=True, cwd=cwd, capture_output=True).stdout


def listed_by(tool: str, data: bytes) -> list[str]:
    """The plain files that a tar command or Python finds in an archive."""
    if tool == "tarfile":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return [member.name for member in archive if member.isfile()]
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    told = subprocess.run([tool, "-tf", "-"], input=data, capture_output=True, check=True).stdout.decode()
    return [line for line in told.splitlines() if not line.endswith("/")]


@TOOLS
def test_absolute_names_and_several_folders_are_read(video: Path, tool: str) -> None:
    absolute = made_by(tool, "-cPf", "-", video / "data/video_1", cwd=video)
    deep = made_by(tool, "-cf", "-", "data/video_1", cwd=video)
    for data in (absolute, deep):
        assert sorted(members(data)) == ["metadata.json", *TWO]
        assert bad(data) == []


@pytest.mark.parametrize(
    "folder", ["C:\\data\\video 1\\", ".\\video_1\\", "\\\\server\\share\\v\\", "", "x/v\\"]
)
def test_backslashes_of_windows_are_read(folder: str) -> None:
    data = tar((f"{folder}metadata.json", b"{}"), (f"{folder}segments\\{TWO[0]}", FLAC))
    assert members(data) == ["metadata.json", TWO[0]]


def test_a_backslash_in_a_speakers_name_stays_there() -> None:
    assert members(tar(("segments/a\\b_00000_00100.flac", FLAC))) == ["a\\b_00000_00100.flac"]


@pytest.mark.parametrize("tool", ["tar", "bsdtar", "tarfile"])
@pytest.mark.parametrize("rest", [b"", bytes(100), bytes(512), bytes(700)])
def test_an_archive_without_its_end_marker_is_read_with_a_word_about_it(tool: str, rest: bytes) -> None:
    whole = tar(*((f"segments/{name}", FLAC * 20) for name in TWO), fmt=tarfile.USTAR_FORMAT)
    cut = whole[: 2 * (512 + 2560)] + rest
    if tool != "bsdtar" or len(rest) != 100:  # bsdtar reads it, and says that it is cut
        assert listed_by(tool, cut) == [f"segments/{name}" for name in TWO]
    assert members(cut) == list(TWO)
    assert bad(cut) == ([] if len(rest) >= 512 else [("no_end_marker", MemberKind.OTHER)])


def test_a_last_member_that_is_whole_is_read_where_its_padding_is_missing() -> None:
    whole = tar(*((f"segments/{name}", FLAC * 20) for name in TWO), fmt=tarfile.USTAR_FORMAT)
    cut = whole[: 512 + 2560 + 512 + len(FLAC) * 20]
    assert members(cut) == list(TWO)
    assert bad(cut) == [("no_end_marker", MemberKind.OTHER)]


@pytest.mark.parametrize("tool", ["tar", "bsdtar", "tarfile"])
def test_joined_archives_give_the_first_and_name_the_second(tool: str) -> None:
    joined = tar((f"segments/{TWO[0]}", FLAC)) + tar((f"segments/{TWO[1]}", FLAC))
    assert listed_by(tool, joined) == [f"segments/{TWO[0]}"]
    note = read(joined)[-1]
    assert members(joined) == [TWO[0]]
    assert isinstance(note, BadMember)
    assert (note.code, note.kind) == ("after_the_end", MemberKind.OTHER)
    assert "10,240" in note.message
    rubbish = read(tar((f"segments/{TWO[0]}", FLAC)) + b"junk" * 300)[-1]
    assert isinstance(rubbish, BadMember)
    assert rubbish.code == "after_the_end"


def test_an_empty_archive_before_the_real_one_is_explained() -> None:
    assert "10,240" in failure(io.BytesIO(bytes(10240) + tar((GOOD, FLAC))))[1].message


@pytest.mark.parametrize("name", ["Segments/", "SEGMENTS/", "v/Segments/", "segments/v/segments/"])
def test_the_folder_may_be_spelt_otherwise(name: str) -> None:
    data = tar(("V/Metadata.JSON", b"{}"), (f"{name}{TWO[0]}".replace(".flac", ".FLAC"), FLAC))
    assert members(data) == ["Metadata.JSON", TWO[0].replace(".flac", ".FLAC")]


@pytest.mark.parametrize("folder", ["", "./", "audio/", "/data/v/"])
def test_segments_without_their_folder_are_read(folder: str) -> None:
    data = tar(("metadata.json", b"{}"), *((f"{folder}{name}", FLAC) for name in TWO))
    assert members(data) == ["metadata.json", *TWO]
    assert bad(data) == []


def test_what_lies_beside_segments_does_not_take_their_place() -> None:
    data = tar(("speaker0_00000_99999.flac", FLAC), (f".Trash/segments/{TWO[1]}", FLAC), (GOOD, FLAC))
    assert members(data) == [TWO[0]]
    assert bad(data) == [("passed_over", MemberKind.OTHER)] * 2


@pytest.mark.parametrize("folder", [".video_1/segments/", "a/.b/segments/", "__MACOSX/segments/"])
def test_hidden_folders_are_read_only_where_there_is_nothing_else(folder: str) -> None:
    assert members(tar((f"{folder}{TWO[0]}", FLAC))) == [TWO[0]]
    assert members(tar((f"{folder}{TWO[0]}", FLAC), (GOOD, FLAC))) == [TWO[0]]
    inside = tar((f"segments/.ipynb_checkpoints/{TWO[1]}", FLAC), (GOOD, FLAC))
    assert members(inside) == [TWO[0]]
    assert bad(inside) == [("passed_over", MemberKind.OTHER)]


def test_a_stream_that_cannot_be_read_again_says_what_it_hides() -> None:
    _seen, error = failure(Pipe(tar((f"audio/{TWO[0]}", FLAC))))
    assert (error.code, TWO[0] in error.message) == ("empty", True)


def test_an_archive_of_other_things_says_what_is_there() -> None:
    error = failure(io.BytesIO(tar(("audio/sp0_0_3.flac", FLAC), ("notes.txt", b"x"))))[1]
    assert error.code == "empty"
    assert "audio/sp0_0_3.flac" in error.message


def test_short_times_are_told_how_long_they_must_be() -> None:
    (member,) = read(tar(("segments/sp0_0_3.flac", FLAC)))
    assert isinstance(member, BadMember)
    assert member.code == "bad_name"
    assert "five digits" in member.message


@pytest.mark.parametrize(
    "name", ["notes.txt", "metadata.json", f"{TWO[0]}.md5", "speaker0_00000_00850.json", "README"]
)
def test_what_goes_beside_a_segment_is_none(name: str) -> None:
    assert bad(tar((f"segments/{name}", b"x" * 2000), (GOOD, FLAC))) == [("ignored", MemberKind.OTHER)]


@TOOLS
def test_foreign_kinds_of_entries_are_passed_over(video: Path, tool: str) -> None:
    """GNU's volume labels and folder lists of incremental backups, and folders in another encoding."""
    extra = ["-V", "label", "-g", "snapshot"] if tool == "tar" else []
    data = made_by(tool, "-cf", "-", *extra, "data", cwd=video)
    assert sorted(members(data)) == ["metadata.json", *TWO]
    assert bad(data) == []


def test_a_folder_that_is_not_utf8_costs_nothing() -> None:
    data = raw_header(b"vid\xe9o/" + GOOD.encode(), b"%011o\0" % len(FLAC)) + FLAC + padding(len(FLAC))
    assert members(data + END_OF_ARCHIVE) == [TWO[0]]


# ----------------------------------------------------------------------------- members that are not used


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("../segments/speaker0_00000_00850.flac", FLAC, "unsafe_name"),
        ("segments/../../speaker0_00000_00850.flac", FLAC, "unsafe_name"),
        (special(GOOD, tarfile.SYMTYPE, "/etc/passwd"), b"", "link"),
        (special(GOOD, tarfile.LNKTYPE, "segments/other"), b"", "hard_link"),
        (special(GOOD, tarfile.CHRTYPE), b"", "device"),
        (special(GOOD, tarfile.BLKTYPE), b"", "device"),
        (special(GOOD, tarfile.FIFOTYPE), b"", "device"),
        (special(GOOD, b"Z"), FLAC, "unsupported_type"),
        ("segments/deeper/speaker0_00000_00850.flac", FLAC, "bad_name"),
        ("segments/speaker0_0_850.flac", FLAC, "bad_name"),
        ("segments/speaker0_00850_00850.flac", FLAC, "bad_name"),
        ("segments/speaker\x070_00000_00850.flac", FLAC, "bad_name"),
        ("segments/speaker0_00000_00850\n.flac", FLAC, "bad_name"),
        ("segments/speaker0_०००००_००८५०.flac", FLAC, "bad_name"),
        (f"segments/{'s' * 250}_00000_00850.flac", FLAC, "bad_name"),
        ("segments/speaker0_00000_00850.m4a", b"x", "not_flac"),
        ("segments/speaker0_00000_00850", FLAC, "not_flac"),
        (GOOD, b"<html>404</html>", "not_audio"),
        (GOOD, b"\xff\xff\xff\xff"[:1], "not_audio"),
        (GOOD, b"", "empty"),
    ],
)
def test_a_bad_segment_costs_itself_only(name: str | tarfile.TarInfo, data: bytes, code: str) -> None:
    after = ("segments/speaker1_00000_00100.flac", FLAC)
    archive = tar((name, data), after)
    assert bad(archive) == [(code, MemberKind.SEGMENT)]
    assert members(archive) == ["speaker1_00000_00100.flac"]


@pytest.mark.parametrize("kind", ["FLAC", "AIFF", "CAF", "W64", "RF64"])
def test_what_the_decoders_read_is_audio_to_the_archive_too(kind: str) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(1).normal(0, 0.1, 48_000)
    soundfile.write(file, noise, 16_000, format=kind, subtype="PCM_16")
    data = b"not of it" + file.getvalue() if kind == "FLAC" else file.getvalue()
    (member,) = read(tar((GOOD, data)))
    assert isinstance(member, Member), member
    assert recording.read(member.data).frames == 48_000


def test_the_first_usable_one_of_two_equal_names_counts() -> None:
    same = "segments/speaker0_000000_000850.wav"  # the same segment, spelt otherwise
    got = read(
        tar(
            (GOOD, b"no audio"),
            (GOOD, FLAC),
            (same, b"RIFF"),
            ("metadata.json", b"{}"),
            ("v/metadata.json", b"{}"),
        )
    )
    codes = [m.code if isinstance(m, BadMember) else m.name for m in got]
    assert codes == [
        "not_audio",
        "speaker0_00000_00850.flac",
        "duplicate_name",
        "metadata.json",
        "duplicate_name",
    ]


def test_two_videos_in_one_archive_are_told_apart() -> None:
    data = tar((f"a/{GOOD}", FLAC), ("b/segments/speaker0_00850_00900.flac", FLAC))
    assert bad(data) == [("other_folder", MemberKind.SEGMENT)]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\x80\x81", b'{"a": "\\ud800"}', b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 100_000],
    ids=["empty", "cut", "list", "binary", "lone surrogate", "deep", "very deep"],
)
def test_bad_metadata_is_reported_and_the_rest_goes_on(content: bytes) -> None:
    data = tar(("metadata.json", content), (GOOD, FLAC))
    note = read(data)[0]
    assert isinstance(note, BadMember)
    assert (note.code, note.kind) == ("bad_metadata", MemberKind.METADATA)
    assert hashlib.sha256(content).hexdigest() in note.message
    assert members(data) == ["speaker0_00000_00850.flac"]


def test_metadata_larger_than_the_limit_is_not_read() -> None:
    content = b'{"a": "' + b"x" * 5000 + b'"}'
    data = tar(("metadata.json", content), (GOOD, FLAC))
    assert bad(data, TarLimits(max_metadata_bytes=4096)) == [("bad_metadata", MemberKind.METADATA)]
    note = read(tar(("metadata.json", b" " * (1 << 20) + b"{}"), (GOOD, FLAC)))[0]
    assert isinstance(note, BadMember)
    assert "1,048,576" in note.message
    assert hashlib.sha256(b" " * (1 << 20) + b"{}").hexdigest() in note.message


def test_metadata_of_windows_and_pandas_is_forgiven() -> None:
    assert parse_metadata(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert list(parse_metadata(b'{"fps": NaN}')) == ["fps"]


def test_names_that_are_not_utf8_come_out_printable() -> None:
    data = (
        raw_header(b"segments/\xff\xfe_00000_00850.flac", b"%011o\0" % len(FLAC)) + FLAC + padding(len(FLAC))
    )
    (member,) = read(data + END_OF_ARCHIVE)
    assert isinstance(member, BadMember)
    assert (member.code, member.name) == ("bad_name", "\\xff\\xfe_00000_00850.flac")


def test_hostile_names_are_cut_and_escaped_in_messages() -> None:
    data = tar(("segments/\x1b[31m" + "x" * 5000, FLAC), (GOOD, FLAC))
    member = read(data)[0]
    assert isinstance(member, BadMember)
    assert member.message.isprintable()
    assert len(member.message) < 500


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_a_name_record_of_gigabytes_is_not_held(kind: bytes) -> None:
    claimed = 3 << 20
    bomb = raw_header(b"././@LongLink", b"%011o\0" % claimed, kind) + b"a" * claimed
    pipe = Pipe(bomb + tar((GOOD, FLAC), ("segments/speaker1_00000_00100.flac", FLAC)))
    got = list(read_members(pipe))
    assert [m.code if isinstance(m, BadMember) else m.name for m in got] == [
        "bad_header",
        "speaker1_00000_00100.flac",
    ]
    assert pipe.largest <= 1 << 20


@pytest.mark.parametrize(
    "record", [b"junk", b"999 path=x\n", b"9 path=x", b"6 abc\n", b"20 size=99999999999999999999\n"]
)
def test_a_damaged_pax_record_costs_one_member(record: bytes) -> None:
    pax = raw_header(b"pax", b"%011o\0" % len(record), b"x") + record + padding(len(record))
    data = pax + tar((GOOD, FLAC), ("segments/speaker1_00000_00100.flac", FLAC))
    assert bad(data) == [("bad_header", MemberKind.SEGMENT)]


def test_sparse_files_are_refused() -> None:
    pax = special(GOOD, tarfile.REGTYPE)
    pax.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": GOOD}
    old = bytearray(raw_header(GOOD.encode(), b"%011o\0" % len(FLAC), b"S"))
    old[482] = 1  # the map goes on in one more block, which ends it
    data = with_checksum(old) + bytes(512) + FLAC + padding(len(FLAC)) + tar((pax, FLAC))
    assert bad(data) == [("sparse", MemberKind.SEGMENT)] * 2


# ----------------------------------------------------------------------------- huge claims


def huge(size: int) -> bytes:
    return raw_header(GOOD.encode(), b"\x80" + size.to_bytes(11))


def test_a_member_that_claims_100_gb_is_neither_held_nor_read() -> None:
    claimed = 100 << 30
    tail = tar(("segments/speaker1_00000_00100.flac", FLAC))
    source = Zeros(huge(claimed), 512 + claimed, seekable=True)
    codes = [member.code for member in read_members(source) if isinstance(member, BadMember)]
    assert codes == ["too_large", "no_end_marker"]
    assert source.read_bytes < 4096
    assert bad(huge(8 << 20) + bytes(8 << 20) + tail, TarLimits(max_member_bytes=1 << 20)) == [
        ("too_large", MemberKind.SEGMENT)
    ]


@pytest.mark.parametrize("seekable", [True, False])
def test_a_claim_beyond_the_end_of_the_stream_is_a_truncated_archive(seekable: bool) -> None:
    source = Zeros(huge(100 << 30), 5 << 20, seekable=seekable)
    seen, error = failure(source)
    assert (len(seen), error.code) == (1, "truncated")
    assert source.read_bytes <= 5 << 20


def test_a_size_no_store_could_hold_is_damage() -> None:
    assert failure(io.BytesIO(huge(1 << 60)))[1].code == "bad_header"
    assert failure(io.BytesIO(raw_header(b"x", b"-0000000001\0")))[1].code == "bad_header"


def test_an_archive_of_empty_headers_ends() -> None:
    assert (
        failure(io.BytesIO(member_header("x", 0) * 50), TarLimits(max_headers=20))[1].code
        == "too_many_headers"
    )


# ----------------------------------------------------------------------------- archives that are not


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"", "empty", "zero bytes"),
        (b"hello", "not_tar", "5 bytes"),
        (b"<html>" * 200, "not_tar", "not a tar"),
        (gzip.compress(b"x" * 2000, mtime=0), "compressed", "gunzip"),
        (b"PK\x03\x04" + bytes(600), "compressed", "unzip"),
        (bytes(10240), "empty", "segments"),
        (tar(("README", b"x")), "empty", "segments"),
    ],
)
def test_what_is_not_an_archive_of_segments_is_said_plainly(data: bytes, code: str, word: str) -> None:
    error = failure(io.BytesIO(data))[1]
    assert error.code == code
    assert word in error.message


def test_a_cut_archive_yields_what_came_before() -> None:
    data = tar((GOOD, FLAC), ("segments/speaker1_00000_00100.flac", FLAC * 10))
    whole = members(data)
    for end in (1024 + 300, 1024 + 512 + 600):  # in a header, in content
        seen, error = failure(io.BytesIO(data[:end]))
        assert (len(seen), error.code) == (1, "truncated")
    assert members(data[: 1024 + 512 + 1536 + 512]) == whole  # one zero block of two is enough


def test_damage_in_the_middle_says_where() -> None:
    data = bytearray(tar((GOOD, FLAC), ("segments/speaker1_00000_00100.flac", FLAC)))
    data[1024 + 5] ^= 0xFF
    seen, error = failure(io.BytesIO(bytes(data)))
    assert (len(seen), error.code) == (1, "bad_header")
    assert "1,024" in error.message


def test_errors_of_the_stream_pass_through() -> None:
    class Broken:
        def read(self, _size: int, /) -> bytes:
            raise ConnectionResetError("cut")

    with pytest.raises(ConnectionResetError):
        list(read_members(Broken()))


# ----------------------------------------------------------------------------- fuzz


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _splice(data: bytearray, rng: random.Random) -> None:
    at, to, size = (rng.randrange(len(data)) for _ in range(3))
    data[to : to + size % 2048] = data[at : at + rng.randint(1, 2048)]


def _rewrite_header(data: bytearray, rng: random.Random) -> None:
    """Damage a header's fields and repair its checksum, so that the parser has to believe it."""
    start = 512 * rng.randrange(len(data) // 512)
    block = data[start : start + 512]
    field = rng.choice([(0, 100), (124, 136), (156, 157), (257, 265), (345, 500), (482, 483)])
    for i in range(*field):
        if rng.random() < 0.5:
            block[i] = rng.choice(b"\0\x80\xff01234567xLSgK/._ ")
    data[start : start + 512] = with_checksum(block)


DAMAGE: list[Callable[[bytearray, random.Random], None]] = [
    _flip,
    _cut,
    _splice,
    _rewrite_header,
    _rewrite_header,
]


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_damaged_archives_give_members_or_an_archive_error(fmt: int) -> None:
    long = "a" * 80 if fmt == tarfile.USTAR_FORMAT else "ü" * 120
    base = tar(
        ("metadata.json", b'{"language": "hi"}'),
        (GOOD, FLAC * 9),
        (special("segments/link.flac", tarfile.SYMTYPE, "x" * 90), b""),
        (f"segments/{long}_00000_00850.flac", FLAC),
        ("segments/speaker1_00000_00850.flac", FLAC * 3),
        fmt=fmt,
    )
    rng = random.Random(f"lipika {fmt}")
    complete = 0
    for _ in range(300):
        data = bytearray(base)
        for damage in rng.choices(DAMAGE, k=rng.randint(1, 3)):
            if len(data) >= 512:
                damage(data, rng)
        pipe = Pipe(bytes(data))
        try:
            got = list(read_members(pipe))
        except ArchiveError:
            pass
        else:
            complete += 1
            assert all(isinstance(member, Member | BadMember) for member in got)
        assert pipe.largest <= TarLimits().max_member_bytes
        assert pipe.calls < 10 * len(base) // 512
    assert 0 < complete < 300  # the damage is neither harmless nor always fatal


@given(st.binary(max_size=2048))
def test_any_bytes_are_an_archive_error(data: bytes) -> None:
    assert failure(io.BytesIO(data))[1].code


# ----------------------------------------------------------------------------- writing

NAMES = [
    ("metadata.json", b'{"a": 1}'),
    (GOOD, FLAC),
    ("segments/empty_00000_00100.flac", b""),
    ("segments/वक्ता_00000_00850.flac", b"x" * 512),
    (f"segments/{'long' * 50}_00000_00850.flac", b"x" * 513),
]


def written() -> bytes:
    parts = [member_header(name, len(data)) + data + padding(len(data)) for name, data in NAMES]
    for part, (name, data) in zip(parts, NAMES, strict=True):
        assert len(part) == member_size(name, len(data))
    return b"".join(parts) + END_OF_ARCHIVE


@pytest.mark.parametrize("mode", ["r:", "r|"])
def test_tarfile_reads_what_we_write(mode: str) -> None:
    # The stream mode is how webdataset and its kin read.
    with tarfile.open(None, mode, io.BytesIO(written()), errorlevel=2) as archive:  # type: ignore[call-overload]
        got = []
        for info in archive:
            content = archive.extractfile(info)
            assert content is not None
            got.append((info.name, content.read()))
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
            assert (info.mode, info.isfile()) == (0o644, True)
    assert got == NAMES


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs a tar command")
def test_the_tar_command_reads_what_we_write(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(written())
    done = subprocess.run(["tar", "-xf", "a.tar"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stderr == b""
    assert [(name, (tmp_path / name).read_bytes()) for name, _ in NAMES] == NAMES


def test_headers_are_plain_ustar_unless_the_name_needs_more() -> None:
    assert len(member_header(GOOD, 5)) == 512
    assert member_header(GOOD, 5) == member_header(GOOD, 5)
    assert len(member_header(NAMES[3][0], 5)) == 3 * 512


@pytest.mark.parametrize(("name", "size"), [("", 1), ("a\0b", 1), ("a", -1), ("a", 8 << 30)])
def test_what_a_tar_cannot_hold_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        member_header(name, size)


@given(
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=150),
    st.binary(max_size=600),
)
def test_every_name_survives_the_round_trip(name: str, data: bytes) -> None:
    stored = f"folder/{name}"
    block = member_header(stored, len(data)) + data + padding(len(data)) + END_OF_ARCHIVE
    with tarfile.open(fileobj=io.BytesIO(block), mode="r|") as archive:
        assert [info.name for info in archive] == [stored.rstrip("/")]
    if name not in (".", ".."):
        assert list(read_folder(io.BytesIO(block), "folder")) == [(name, data)]


def test_reading_a_folder_refuses_damage() -> None:
    with pytest.raises(ArchiveError, match="damaged or larger"):
        list(read_folder(io.BytesIO(tar((special("f/x", tarfile.SYMTYPE, "y"), b""))), "f"))
