"""The spool: clips and results in, one reproducible archive out, nothing left behind."""

from __future__ import annotations

import hashlib
import io
import json
import random
import resource
import tarfile
from pathlib import Path

import pytest

from lipika.archive.members import MemberKind, read_members
from lipika.archive.spool import Spool
from lipika.errors import AccountingError, StorageError

Files = dict[str, bytes]


def files(count: int) -> tuple[Files, Files]:
    """Clips of odd sizes, and a document for each, by stem."""
    rng = random.Random(1)
    stems = [f"speaker{i % 3}_{i * 100:05d}_{i * 100 + 99:05d}" for i in range(count)]
    clips = {stem: b"fLaC" + rng.randbytes(rng.randrange(5000)) for stem in stems}
    return clips, {stem: b'{"clip": "%b"}\n' % stem.encode() for stem in stems}


def spooled(folder: Path, clips: Files, results: Files, metadata: bytes = b"{}") -> bytes:
    with Spool(folder) as spool:
        for stem, flac in clips.items():
            spool.add_clip(stem, flac)
        for stem, document in results.items():
            spool.add_result(stem, document)
        tar = spool.compose(metadata)
        data = b"".join(tar.chunks())
        assert b"".join(tar.chunks()) == data  # an upload may have to start again
        assert len(data) == tar.size
    return data


def test_the_archive_is_metadata_then_segments_then_transcriptions(tmp_path: Path) -> None:
    clips, results = files(40)
    data = spooled(tmp_path / "new folder", clips, results, b'{"a": 1}')
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as archive:
        got = [(info.name, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    assert got == [
        ("metadata.json", b'{"a": 1}'),
        *((f"segments/{stem}.flac", flac) for stem, flac in clips.items()),
        *((f"transcriptions/{stem}.json", document) for stem, document in results.items()),
    ]


def test_results_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    clips, results = files(60)
    shuffled = list(results.items())
    random.Random(3).shuffle(shuffled)
    assert spooled(tmp_path, clips, results) == spooled(tmp_path, clips, dict(shuffled))


def test_our_own_archive_can_be_read_as_input(tmp_path: Path) -> None:
    clips, results = files(5)
    kinds = [member.kind for member in read_members(io.BytesIO(spooled(tmp_path, clips, results)))]
    assert kinds == [MemberKind.METADATA] + [MemberKind.SEGMENT] * 5 + [MemberKind.OTHER] * 5


def test_chunks_are_about_a_megabyte(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.add_clip("big", bytes(5 << 20))
        spool.add_result("big", b"{}")
        sizes = [len(chunk) for chunk in spool.compose(b"{}").chunks()]
    assert max(sizes) <= 2 << 20
    assert len(sizes) >= 3


def test_an_empty_video_is_a_valid_archive(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(spooled(tmp_path, {}, {})), mode="r:") as archive:
        assert archive.getnames() == ["metadata.json"]


def test_digests_are_of_the_contents_in_order(tmp_path: Path) -> None:
    clips, results = files(7)
    with Spool(tmp_path) as spool:
        for stem, flac in clips.items():
            spool.add_clip(stem, flac)
        for stem in reversed(results):
            spool.add_result(stem, results[stem])
        assert spool.digests() == {
            "segments_sha256": hashlib.sha256(b"".join(clips.values())).hexdigest(),
            "transcriptions_sha256": hashlib.sha256(b"".join(results.values())).hexdigest(),
        }


def test_every_clip_has_exactly_one_result(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.add_clip("a", b"1")
        spool.add_clip("b", b"2")
        spool.add_result("a", b"{}")
        with pytest.raises(AccountingError, match="1 clips have no result, such as b"):
            spool.compose(b"{}")
        with pytest.raises(AccountingError, match="a second result for a"):
            spool.add_result("a", b"{}")
        with pytest.raises(AccountingError, match="two clips are named b"):
            spool.add_clip("b", b"2")
        with pytest.raises(AccountingError, match="a result for c, which is no clip"):
            spool.add_result("c", b"{}")


def test_nothing_is_left_in_the_folder_even_while_open(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.add_clip("a", b"1" * 100_000)
        assert not list(tmp_path.iterdir())  # a worker that is killed leaves nothing either
    assert not list(tmp_path.iterdir())


def test_two_spools_share_a_folder(tmp_path: Path) -> None:
    with Spool(tmp_path) as one, Spool(tmp_path) as two:
        for spool, flac in ((one, b"1"), (two, b"22")):
            spool.add_clip("a", flac)
            spool.add_result("a", b"{}")
        assert list(one.compose(b"{}").chunks()) != list(two.compose(b"{}").chunks())


def test_a_folder_that_cannot_be_used_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="SPOOL_DIR"), Spool(tmp_path / "file" / "below"):
        pass


def test_a_write_that_fails_leaves_the_spool_as_it_was(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Spool(tmp_path) as spool:
        spool.add_clip("a", b"1" * 1000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # stands in for a full disk
        try:
            with pytest.raises(StorageError, match="cannot spool"):
                spool.add_clip("b", b"2" * 200_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        spool.add_result("a", json.dumps({}).encode())
        with tarfile.open(fileobj=io.BytesIO(b"".join(spool.compose(b"{}").chunks()))) as archive:
            assert archive.getnames() == ["metadata.json", "segments/a.flac", "transcriptions/a.json"]


def test_a_result_can_be_replaced_and_only_the_new_one_is_packed(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for stem in ("a", "b"):
            spool.add_clip(stem, b"fLaC" * 100)
            spool.add_result(stem, f"first of {stem}".encode())
        spool.replace_result("a", b"second " * 200)
        assert spool.result("a") == b"second " * 200
        tar = spool.compose(b"{}")
        packed = b"".join(tar.chunks())
    assert len(packed) == tar.size
    assert b"first of a" not in packed
    assert b"second " * 200 in packed
    assert b"first of b" in packed


def test_what_is_sent_is_read_from_the_disk_again_and_again(tmp_path: Path) -> None:
    """A clip as packed lies in the archive already; what else is sent lies beside it, and in no archive."""
    with Spool(tmp_path) as spool:
        spool.add_clip("speaker0_00000_00850", b"packed" * 999)
        packed = spool.audio("speaker0_00000_00850")
        kept = [spool.keep(bytes([number]) * 1000) for number in range(3)]
        spool.add_result("speaker0_00000_00850", b"{}")
        archive = b"".join(spool.compose(b"{}").chunks())
        for _ in range(2):
            assert packed.read() == b"packed" * 999
            assert [piece.read() for piece in kept] == [bytes([number]) * 1000 for number in range(3)]
        assert (packed.size, kept[0].size) == (5994, 1000)
    with Spool(tmp_path) as plain:
        plain.add_clip("speaker0_00000_00850", b"packed" * 999)
        plain.add_result("speaker0_00000_00850", b"{}")
        assert b"".join(plain.compose(b"{}").chunks()) == archive


def test_a_spool_that_is_closed_gives_no_other_files_bytes(tmp_path: Path) -> None:
    """The number of its file may be another's by then."""
    with Spool(tmp_path) as spool:
        piece = spool.keep(b"mine")
    with Spool(tmp_path) as other:
        other.keep(b"not mine")
        with pytest.raises(StorageError, match="closed"):
            piece.read()
