"""The plan: every candidate is planned or dropped for a reason, nothing leaks, and the same gives the same."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lipika.dataset.plan import DROPPED, PLAN, read_report
from lipika.dataset.selection import Selection
from lipika.dataset.splits import Split, components, parse_splits
from lipika.dataset.user_files import UserFiles
from lipika.errors import UsageError
from plan_kit import OPTIONS, THREE, Row, candidate, corpus, dropped, plan


def test_each_reason_to_drop_a_clip_is_told(tmp_path: Path) -> None:
    odd: dict[str, Row] = {
        "no_archive": {"archive": None},
        "failed": {"status": "failed", "transcription": None, "text": ""},
        "no_speech": {"status": "no_speech", "text": ""},
        "language": {"language": "ta"},
        "lane": {"asr": False},
        "score": {"quality_score": 0.4},
        "duration": {"duration_ms": 40_000},
        "snr": {"snr_db": None},
        "findings": {"findings": "loop repeated_end"},
        "tier": {"tier": "bronze"},
        "model": {"model_id": "other", "model_version": ""},
        "prompt": {"prompt_version": "p0"},
        "provider": {"provider": "openrouter"},
        "text_source": {"text_source": "person"},
        "where": {"speaker_id": "speaker9"},
        "latin": {"text_drop": "latin"},
    }
    rows = [candidate(number, **({"tier": "gold"} | change)) for number, change in enumerate(odd.values())]
    rows.append(candidate(len(odd), tier="gold"))
    selection = Selection(
        languages=("hi",),
        min_score=0.5,
        seconds=(1, 30),
        min_snr_db=20,
        without_findings=("loop",),
        tiers=("gold", "silver"),
        models=("m",),
        prompts=("p1",),
        providers=("aistudio",),
        text_sources=("model",),
        where="speaker_id = 'speaker0'",
    )
    report, planned = plan(tmp_path, rows, replace(OPTIONS, selection=selection))
    assert [row["clip"] for row in planned] == [rows[-1]["clip"]]
    assert list(dropped(tmp_path).values()) == [
        reason for _, reason in sorted((row["clip"], reason) for row, reason in zip(rows, odd, strict=False))
    ]
    assert report.dropped == {reason: (1, rows[place]["duration_ms"]) for place, reason in enumerate(odd)}


def test_every_clip_can_be_carried_with_the_reason_as_a_switch(tmp_path: Path) -> None:
    rows = [
        candidate(0),
        candidate(1, asr=False),
        candidate(2, status="no_speech", text=""),
        candidate(3, archive=None),
    ]
    _, planned = plan(tmp_path, rows, replace(OPTIONS, selection=Selection(skipme=True)))
    assert [row["skip"] for row in planned] == ["", "lane", "no_speech"]


def test_a_condition_names_what_it_does_not_understand(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--where colour = 1: .*colour.*Columns: video_id, "):
        plan(tmp_path, [candidate(0)], replace(OPTIONS, selection=Selection(where="colour = 1")))


def test_a_condition_may_end_in_a_comment_and_cannot_leave_its_brackets(tmp_path: Path) -> None:
    options = replace(OPTIONS, selection=Selection(where="asr -- the lane"))
    assert plan(tmp_path, [candidate(0)], options)[0].clips == 1
    with pytest.raises(UsageError, match="--where"):
        plan(tmp_path, [candidate(0)], replace(OPTIONS, selection=Selection(where="asr) then 1 when (asr")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), videos=st.integers(1, 12), clips_per_shard=st.integers(1, 9))
def test_whatever_the_corpus_the_plan_adds_up_and_nothing_leaks(
    tmp_path: Path, seed: int, videos: int, clips_per_shard: int
) -> None:
    lot = random.Random(seed)
    rows = []
    for video in range(videos):
        for number in range(lot.randint(1, 12)):
            row = candidate(
                number, f"v.{video}", asr=lot.random() < 0.9, language=lot.choice(["hi", "hi", "ta"])
            )
            row["text"] = row["transcription"] = lot.choice([row["text"], "नमस्ते।", "नमस्ते"])
            row["audio_digest"] = lot.choice([row["audio_digest"], "jingle"])
            rows.append(row)
    options = replace(
        OPTIONS, splits=THREE, clips_per_shard=clips_per_shard, shards_per_job=2, max_same_text=3
    )
    report, planned = plan(tmp_path / str(seed), rows, options)
    assert report.candidates == len(rows) == report.clips + sum(clips for clips, _ in report.dropped.values())
    assert len(planned) == report.clips == len({row["id"] for row in planned})
    assert all(re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", row["id"]) for row in planned)
    homes = defaultdict(set)
    for row in planned:
        homes["video", row["video_id"]].add(row["split"])
        homes["text", row["text"].strip("।")].add(row["split"])
    assert all(len(splits) == 1 for splits in homes.values())
    assert max(Counter(row["audio_digest"] for row in planned).values(), default=1) == 1
    assert max(Counter((row["split"], row["text"].strip("।")) for row in planned).values(), default=0) <= 3
    for tarset in report.tarsets:
        of = [row for row in planned if (row["language"], row["split"]) == (tarset.language, tarset.split)]
        sizes = Counter(row["shard"] for row in of)
        assert sorted(sizes) == list(range(tarset.shards))
        assert len(of) == tarset.clips
        for shard in sizes:
            assert len({row["job"] for row in of if row["shard"] == shard}) == 1
    assert [row["job"] for row in planned] == sorted(row["job"] for row in planned)
    assert {row["job"] for row in planned} == set(range(report.jobs))
    assert pq.ParquetFile(tmp_path / str(seed) / PLAN).num_row_groups == report.jobs
    assert read_report(tmp_path / str(seed) / PLAN) == report


def test_the_order_in_which_candidates_come_does_not_matter(tmp_path: Path) -> None:
    rows = corpus(30, 7)
    for row in rows[::3]:
        row["text"] = "वही"
    options = replace(OPTIONS, splits=THREE, max_same_text=5, clips_per_shard=20)
    plan(tmp_path / "a", rows, options, threads=1)
    random.Random(1).shuffle(rows)
    plan(tmp_path / "b", rows, options, threads=4)
    for name in (PLAN, DROPPED):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_larger_corpus_keeps_every_old_video_in_its_split(tmp_path: Path) -> None:
    options = replace(OPTIONS, splits=parse_splits("train=.9,dev=.05,test=.05"))
    _, small = plan(tmp_path / "a", corpus(300, 1), options)
    _, large = plan(tmp_path / "b", corpus(600, 1), options)
    now = {row["video_id"]: row["split"] for row in large}
    assert all(now[row["video_id"]] == row["split"] for row in small)
    shares = Counter(row["split"] for row in large)
    assert 0.85 < shares["train"] / 600 < 0.95
    assert shares["dev"] > 10
    assert shares["test"] > 10


def test_a_corpus_too_small_for_its_shares_gives_the_smallest_group_with_a_word(tmp_path: Path) -> None:
    rows = [
        *corpus(2, 5),
        *(candidate(n, "short") for n in range(2)),
        *(candidate(n, "mid") for n in range(3)),
    ]
    options = replace(OPTIONS, splits=parse_splits("train=.99998,dev=.00001,test=.00001"))
    report, planned = plan(tmp_path, rows, options)
    splits = {row["video_id"]: row["split"] for row in planned}
    assert splits == {"v0": "train", "v1": "train", "short": "dev", "mid": "test"}
    assert len(report.notes) == 2
    assert "dev would be empty at its share of 1e-05: it gets short, the smallest group" in report.notes[0]
    options = replace(options, splits=(*options.splits, Split("more", 0.0001), Split("most", 0.0001)))
    assert "most is empty: there are 4 groups for 5 splits" in plan(tmp_path, rows, options)[0].notes


def test_videos_of_one_channel_stay_together_and_an_earlier_export_is_followed(tmp_path: Path) -> None:
    rows = corpus(40, 2)
    channels = tmp_path / "channels.csv"
    lines = [f"v{video},c{video % 10}" for video in range(40)]
    channels.write_text("\n".join(["video_id,channel_id", *lines]) + "\n")
    options = replace(OPTIONS, splits=THREE, group_by="channel_id")
    _, planned = plan(tmp_path / "a", rows, options, UserFiles(columns=channels))
    homes = defaultdict(set)
    for row in planned:
        homes[int(row["video_id"][1:]) % 10].add(row["split"])
    assert all(len(splits) == 1 for splits in homes.values())
    other = replace(OPTIONS, splits=THREE, seed="another")
    follow = UserFiles(splits_of=tmp_path / "a" / PLAN)
    _, followed = plan(tmp_path / "b", rows, other, follow)
    was = {row["video_id"]: row["split"] for row in planned}
    assert {row["video_id"]: row["split"] for row in followed} == was
    with pytest.raises(UsageError, match="--group-by channel: there is no such column"):
        plan(tmp_path / "c", rows, replace(options, group_by="channel"), UserFiles(columns=channels))


def test_speakers_over_several_videos_join_them(tmp_path: Path) -> None:
    rows = corpus(6, 2)
    columns = tmp_path / "speakers.csv"
    columns.write_text("video_id,speaker\nv0,asha\nv1,asha\nv2,ravi\n")
    options = replace(OPTIONS, splits=THREE, group_by="speaker")
    _, planned = plan(tmp_path / "a", rows, options, UserFiles(columns=columns))
    split = {row["video_id"]: row["split"] for row in planned}
    assert split["v0"] == split["v1"]
    assert {row["speaker"] for row in planned} == {
        "asha",
        "ravi",
        "v3_speaker0",
        "v4_speaker0",
        "v5_speaker0",
    }
    assert components([("a", ["1", "2"]), ("b", ["2", "3"]), ("c", ["4"])]) == {"a": "1", "b": "1", "c": "4"}


def test_only_the_videos_of_a_list(tmp_path: Path) -> None:
    plain = tmp_path / "list.txt"
    plain.write_text('v1\n"odd", name\n')
    rows = [*corpus(3, 1), candidate(0, '"odd", name')]
    options = replace(OPTIONS, selection=Selection(only_videos=True))
    report, planned = plan(tmp_path / "a", rows, options, UserFiles(videos=plain))
    assert {row["video_id"] for row in planned} == {"v1", '"odd", name'}
    assert report.dropped == {"video": (2, 10_600)}
    table = tmp_path / "list.csv"
    table.write_text("id,x\nv1,2\n")
    with pytest.raises(UsageError, match="has no column video_id; there are id, x"):
        plan(tmp_path / "b", rows, options, UserFiles(videos=table))


def test_columns_that_cannot_be_joined_are_named(tmp_path: Path) -> None:
    table = tmp_path / "columns.csv"
    table.write_text("video_id,status\nv1,2\n")
    with pytest.raises(UsageError, match="rename the column status"):
        plan(tmp_path / "a", [candidate(0)], OPTIONS, UserFiles(columns=table))
    table.write_text("video_id,channel\nv1,2\nv1,3\n")
    with pytest.raises(UsageError, match="video v1 stands there twice"):
        plan(tmp_path / "b", [candidate(0)], OPTIONS, UserFiles(columns=table))


def test_ids_are_safe_file_names_and_never_one_for_two_clips(tmp_path: Path) -> None:
    """ASCII, with their ending no more than 100 bytes, and no `_` first.

    lhotse's indexes read no longer header of a tar, and `datasets` passes over files that begin with `__`.
    """
    rows = [
        candidate(0, "v.1"),
        candidate(0, "v_1"),
        candidate(0, "a b/c|d"),
        candidate(0, "x" * 220),
        candidate(0, "y" * 60),
        candidate(0, "__x"),
        candidate(0, "v__x"),
        candidate(0, "-x"),
        candidate(0, "y." * 30),
        candidate(0, "वीडियो"),
        candidate(0, "a", clip="b_speaker_00000_00500"),
        candidate(0, "a_b", clip="speaker_00000_00500"),
    ]
    _, planned = plan(tmp_path, rows)
    ids = {row["video_id"]: row["id"] for row in planned}
    assert len(set(ids.values())) == len(rows)
    assert ids["v_1"] == "v_1_speaker0_00000_00500"
    assert ids["v.1"].startswith("v_1_speaker0_00000_00500-")
    assert ids["वीडियो"].startswith("v_______speaker0_00000_00500-")
    assert all(re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,94}", name) for name in ids.values())
    assert all(re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,94}", row["speaker"]) for row in planned)


def test_splits_of_the_source_stay_and_what_leaks_there_is_told(tmp_path: Path) -> None:
    spelled = ("train", "Validation", "test-other", None, "परख")
    said = {"speaker_id": "asha"}
    rows = [candidate(n, "packed", source_split=split, **said) for n, split in enumerate(spelled)]
    rows.append(
        candidate(5, "packed", source_split="test-other", speaker_id="unknown", transcription=rows[0]["text"])
    )
    report, planned = plan(tmp_path, rows, replace(OPTIONS, splits=parse_splits("theirs")))
    splits = {row["clip"]: row["split"] for row in planned}
    strange = splits.pop(rows[4]["clip"])
    assert re.fullmatch("split_[0-9a-f]{8}", strange)
    assert splits == {
        row["clip"]: split
        for row, split in zip(
            rows[:4] + rows[5:], ("train", "dev", "test_other", "train", "test_other"), strict=True
        )
    }
    assert "1 clip had no split: train" in report.notes
    assert "1 speaker in several of their splits: nothing was moved or dropped for it" in report.notes
    assert "1 sentence in several of their splits: nothing was moved or dropped for it" in report.notes
    with pytest.raises(UsageError, match="no clip had a split"):
        plan(tmp_path / "none", [candidate(1)], replace(OPTIONS, splits=parse_splits("theirs")))


def test_splits_are_read_with_care() -> None:
    assert parse_splits("train=.98, dev=.02") == (Split("train", 0.98), Split("dev", 0.02))
    assert parse_splits("all") == (Split("all", 1.0),)
    for given_, what in (
        ("train=.5,dev=.2", "0.7 together"),
        ("train=.5,train=.5", "twice"),
        ("train=x", "not name=share"),
        ("../up=1", "not name=share"),
        ("train=2,dev=-1", "not name=share"),
    ):
        with pytest.raises(UsageError, match=what):
            parse_splits(given_)


def test_one_sentence_a_hundred_times_stays_as_often_as_wanted(tmp_path: Path) -> None:
    rows = [candidate(number, f"v{number}", transcription="हाँ") for number in range(100)]
    report, planned = plan(tmp_path, rows, replace(OPTIONS, max_same_text=20))
    assert len(planned) == 20
    assert report.dropped["same_text"][0] == 80


def test_nothing_left_is_a_plan_without_shards(tmp_path: Path) -> None:
    report, planned = plan(tmp_path, [candidate(0, asr=False)])
    assert (report.clips, report.jobs, planned) == (0, 0, [])
