"""Plans of odd corpora and odd files of users: all is accounted for, nothing leaks, errors name the thing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lipika.dataset.plan import make_plan
from lipika.dataset.selection import Selection
from lipika.dataset.user_files import UserFiles
from lipika.errors import UsageError
from plan_kit import OPTIONS, THREE, Row, candidate, corpus, dropped, plan

LISTED = replace(OPTIONS, selection=Selection(only_videos=True))


def splits_of(planned: list[Row]) -> dict[str, str]:
    return {row["video_id"]: row["split"] for row in planned}


def test_a_column_that_some_clips_lack_groups_and_doubles_nothing(tmp_path: Path) -> None:
    rows = [candidate(0, accent="a"), candidate(1, accent=None), candidate(2, accent=""), candidate(0, "v2")]
    report, planned = plan(tmp_path, rows, replace(OPTIONS, group_by="accent", splits=THREE))
    assert report.clips == len(planned) == 4
    assert report.dropped == {}


def test_clips_without_a_digest_are_not_the_same_audio(tmp_path: Path) -> None:
    rows = [candidate(number, audio_digest=None) for number in range(3)]
    assert plan(tmp_path, rows)[0].clips == 3


def test_carrying_every_clip_marks_what_is_there_twice(tmp_path: Path) -> None:
    """Also what another clip drops is carried with its reason, and clips that are passed over drop no others."""
    rows = [
        *(candidate(number, audio_digest="jingle") for number in range(3)),
        *(candidate(number, f"v{number}", text="हाँ") for number in range(3, 12)),
        candidate(20, "w", asr=False, text="नहीं"),
        candidate(21, "x", text="नहीं"),
    ]
    options = replace(OPTIONS, selection=Selection(skipme=True), splits=THREE, max_same_text=1)
    report, planned = plan(tmp_path, rows, options)
    assert report.clips == len(rows)
    assert report.dropped == {}
    skips = Counter(row["skip"] for row in planned)
    assert skips["duplicate_audio"] == 2
    assert skips["text_in_earlier_split"] + skips["same_text"] == 8
    assert next(row["skip"] for row in planned if row["video_id"] == "x") == ""


def test_a_clip_in_two_archives_counts_once(tmp_path: Path) -> None:
    """Two runs over one video may have left two archives; ids stay unique, whatever is kept."""
    rows = [candidate(number) for number in range(2)]
    rows += [candidate(number, archive="/later/v1.tar", audio_digest=f"later{number}") for number in range(3)]
    for place, each in enumerate((rows, rows[::-1])):
        folder = tmp_path / str(place)
        report, planned = plan(folder, each, replace(OPTIONS, keep_duplicates=True))
        assert report.dropped == {"duplicate_clip": (2, 10_600)}
        assert len({row["id"] for row in planned}) == 3
        archives = [row["archive"] for row in planned]
        assert archives == sorted(archives)  # each is read once
        assert archives.count("/later/v1.tar") == 3
    rows = [candidate(0, archive=None), candidate(0, archive="/z/v1.tar")]
    report, planned = plan(tmp_path / "usable", rows)
    assert [row["archive"] for row in planned] == ["/z/v1.tar"]


def test_audio_that_may_come_twice_stays_within_a_split(tmp_path: Path) -> None:
    rows = [candidate(number, f"v{number}", audio_digest="same") for number in range(12)]
    report, planned = plan(tmp_path, rows, replace(OPTIONS, splits=THREE, keep_duplicates=True))
    assert len({row["split"] for row in planned}) == 1
    assert report.clips > 1
    assert set(report.dropped) == {"duplicate_audio"}
    assert any("is empty" in note for note in report.notes)


def test_a_sentence_is_the_same_with_and_without_joiners(tmp_path: Path) -> None:
    ways = ("क्षमा करें जी", "क्\u200dषमा करें जी", "क्\u200cषमा, करें  जी!", "क्षमा\u200b करें\u00ad जी\ufeff")
    rows = [candidate(number, f"v{number}", transcription=ways[number % 4]) for number in range(4)]
    _, planned = plan(tmp_path, rows, replace(OPTIONS, splits=THREE))
    assert {row["split"] for row in planned} == {"train"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.txt", b"\xef\xbb\xbf7\r\n2024-01-02\r\n\r\n"),
        ("spaces.txt", b"7 \n\t2024-01-02\n"),
        ("bom.csv", b"\xef\xbb\xbfvideo_id,x\r\n7,\r\n2024-01-02,1\r\n"),
        ("quotes.csv", b'x,"video_id"\n"a,b","7"\n,"2024-01-02"\n'),
        ("numbers.jsonl", b'{"video_id": 7}\n{"video_id": "2024-01-02"}\n'),
        ("dates.jsonl", b'{"video_id": "2024-01-02"}\n{"video_id": "7"}\n'),
        ("twice.txt", b"7\n7\n2024-01-02\n7\n"),
    ],
)
def test_lists_of_videos_however_they_were_made(name: str, content: bytes, tmp_path: Path) -> None:
    rows = [candidate(0, "7"), candidate(1, "2024-01-02"), candidate(2, "abc")]
    (tmp_path / name).write_bytes(content)
    report, planned = plan(tmp_path, rows, LISTED, UserFiles(videos=tmp_path / name))
    assert set(splits_of(planned)) == {"7", "2024-01-02"}
    assert report.dropped == {"video": (1, 5_300)}


def test_ids_that_look_like_something_else_stay_what_they_are(tmp_path: Path) -> None:
    odd = ("AAAAAAAA-1111-2222-3333-444444444444", "01/02/2024", "0042", "1e5", "true")
    rows = [candidate(number, video) for number, video in enumerate(odd)]
    path = tmp_path / "list.jsonl"
    for video in odd:
        path.write_text(f'{{"video_id": "{video}", "score": 3}}\n')
        _, planned = plan(tmp_path, rows, LISTED, UserFiles(videos=path))
        assert set(splits_of(planned)) == {video}
    table = tmp_path / "list.parquet"
    pq.write_table(pa.table({"video_id": [42, 43], "score": [1, 2]}), table)
    columns = UserFiles(columns=table)
    where = replace(OPTIONS, selection=Selection(where="score = 2"))
    _, planned = plan(tmp_path, [candidate(0, "42"), candidate(0, "43"), candidate(0, "x")], where, columns)
    assert set(splits_of(planned)) == {"43"}


def test_columns_may_be_called_anything(tmp_path: Path) -> None:
    path = tmp_path / "columns.csv"
    path.write_text('video_id,"a ""b"" \'c\'",Speaker\nv0,1,asha\nv1,1,\nv2,2,\n')
    options = replace(OPTIONS, group_by="a \"b\" 'c'", splits=THREE)
    _, planned = plan(tmp_path, corpus(3, 1), options, UserFiles(columns=path))
    split = splits_of(planned)
    assert split["v0"] == split["v1"]
    assert {row["speaker"] for row in planned} == {"asha", "v1_speaker0", "v2_speaker0"}
    for taken in ("STATUS", "file_row_number"):
        path.write_text(f"video_id,{taken}\nv0,1\n")
        with pytest.raises(UsageError, match=f"rename the column {taken}"):
            plan(tmp_path, corpus(1, 1), OPTIONS, UserFiles(columns=path))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"v0\n\xe9\nv1\n")
    with pytest.raises(UsageError, match=r"list\.txt cannot be read: .*Line: 2.*utf-8"):
        plan(tmp_path, corpus(1, 1), LISTED, UserFiles(videos=path))
    path.write_bytes(b"")
    assert plan(tmp_path, corpus(1, 1), LISTED, UserFiles(videos=path))[0].dropped == {"video": (1, 5_300)}


def earlier(path: Path, **splits: str) -> UserFiles:
    lines = [f"{video},{split}" for video, split in splits.items()]
    path.write_text("\n".join(["video_id,split", *lines]) + "\n")
    return UserFiles(splits_of=path)


@pytest.mark.parametrize("split", ["../up", "valid", ""])
def test_splits_of_an_earlier_export_must_be_among_those_asked_for(split: str, tmp_path: Path) -> None:
    user = earlier(tmp_path / "old.csv", v0=split)
    with pytest.raises(UsageError, match=r"old\.csv: video v0 is in the split .*train, dev, test"):
        plan(tmp_path, corpus(3, 1), replace(OPTIONS, splits=THREE), user)


def test_an_empty_split_takes_nothing_that_an_earlier_export_holds(tmp_path: Path) -> None:
    old = {f"v{number}": "train" for number in range(6)}
    options = replace(OPTIONS, splits=THREE)
    report, planned = plan(tmp_path, corpus(6, 1), options, earlier(tmp_path / "old.csv", **old))
    assert splits_of(planned) == old
    assert [note.partition(":")[0] for note in report.notes] == ["dev is empty", "test is empty"]
    report, planned = plan(tmp_path, corpus(9, 1), options, earlier(tmp_path / "old.csv", **old))
    assert old.items() <= splits_of(planned).items()
    assert set(splits_of(planned).values()) == {"train", "dev", "test"}


def test_what_was_trained_on_never_becomes_a_test(tmp_path: Path) -> None:
    """Two videos of an earlier export that now belong together go to the first of their splits, with a word."""
    columns = tmp_path / "columns.csv"
    columns.write_text("video_id,channel\nv0,a\nv1,a\n")
    user = replace(earlier(tmp_path / "old.csv", v0="dev", v1="train"), columns=columns)
    report, planned = plan(tmp_path, corpus(5, 1), replace(OPTIONS, splits=THREE, group_by="channel"), user)
    assert splits_of(planned)["v0"] == splits_of(planned)["v1"] == "train"
    assert any("1 group has videos of several splits" in note for note in report.notes)


def test_conditions_are_taken_as_they_are_written(tmp_path: Path) -> None:
    rows = [candidate(0, transcription="a {skip} $seed"), candidate(1)]
    for where in ("transcription like '%{skip}%'", "transcription like '%$seed%'"):
        report, _ = plan(tmp_path, rows, replace(OPTIONS, selection=Selection(where=where)))
        assert report.dropped == {"where": (1, 5_300)}
    columns = tmp_path / "columns.csv"
    columns.write_text("video_id,channel\nv1,a\n")
    odd = replace(OPTIONS, selection=Selection(where="chanel = 'a'"))
    with pytest.raises(UsageError, match=r"Columns: video_id, .*channel"):
        plan(tmp_path, rows, odd, UserFiles(columns=columns))


@pytest.mark.parametrize(
    "where",
    [
        "true); copy (select 1) to '{}'; select (1",
        "true), false) then '' end as reason, '' as skip, null from known; copy (select 1) to '{}'; --",
    ],
)
def test_a_condition_writes_nothing(where: str, tmp_path: Path) -> None:
    evil = tmp_path / "evil.csv"
    options = replace(OPTIONS, selection=Selection(where=where.format(evil)))
    with pytest.raises(UsageError, match="--where"):
        plan(tmp_path / "plan", corpus(1, 1), options)
    assert not evil.exists()


@pytest.mark.parametrize("memory", ["bananas", "1MB", ""])
def test_memory_that_will_not_do_is_named(memory: str, tmp_path: Path) -> None:
    plan(tmp_path, corpus(3, 1))
    with pytest.raises(UsageError, match=f"--memory {memory}"):
        make_plan(tmp_path / "candidates.parquet", tmp_path, OPTIONS, UserFiles(), threads=1, memory=memory)


def test_a_clip_of_nothing_is_accounted_for(tmp_path: Path) -> None:
    rows = [candidate(0, duration_ms=None, bytes=None, status="failed", text=""), candidate(1)]
    carried = replace(OPTIONS, selection=Selection(skipme=True))
    assert plan(tmp_path, rows, carried)[0].clips == 2
    assert plan(tmp_path, rows)[0].dropped["failed"][0] == 1
    assert len(dropped(tmp_path)) == 1
