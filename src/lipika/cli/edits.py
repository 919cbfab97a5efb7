"""The commands `edits` and `repack`: what people say of clips. `add_to` puts them on the command line."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json
from lipika.errors import UsageError

if TYPE_CHECKING:
    from lipika.db.edits import EditableClip, TwinClip
    from lipika.jobs.edits import ImportReport
    from lipika.people.edits import Conflict, Edits, Saved
    from lipika.people.rules import PastEdit
    from lipika.rework.repack import RepackReport

Video = Annotated[str, typer.Argument(metavar="VIDEO", help="Video id.", show_default=False)]
ClipFile = Annotated[str, typer.Argument(metavar="CLIP", help="File name of the clip.", show_default=False)]
By = Annotated[str | None, typer.Option(help="Whose word it is; default: the name you are logged in under.")]
Note = Annotated[str, typer.Option(help="Anything to be remembered with it.")]
Version = Annotated[
    str | None,
    typer.Option(
        "--version",
        help="The clip's version that you looked at (`lipika edits show`): refused if it has changed since.",
    ),
]


class ExchangeForm(StrEnum):
    """The form in which clips go out."""

    CSV = "csv"
    LABEL_STUDIO = "label-studio"


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the commands on `app`; `run` is the command line's own."""
    group = typer.Typer(help="What people say of clips: corrections, their history, out and in.")
    app.add_typer(group, name="edits")
    _add_list(group, run)
    _add_show(group, run)
    _add_check(group)
    _add_changes(group, run)
    _add_takings_back(group, run)
    _add_exchange(group, run)
    _add_repack(app, run)


# ----------------------------------------------------------------------------- looking


def _add_list(group: typer.Typer, run: Run) -> None:
    @group.command("list")
    def list_edits(
        video: Annotated[str | None, typer.Option(help="Only of this video.")] = None,
        by: Annotated[str | None, typer.Option(help="Only by this person.")] = None,
        kind: Annotated[
            str | None, typer.Option(help="Only text, accepted, unusable, undone or redone.")
        ] = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
        before: Annotated[int | None, typer.Option(help="Older than the edit of this number.")] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """What people have said, newest first; refused edits, too.

        Example: lipika edits list --by asha
        """
        from lipika.db.edits import EditTable
        from lipika.jobs.edits import open_edits
        from lipika.people.rules import PastEdit

        async def look() -> list[PastEdit]:
            async with open_edits(data_dir) as (_, database, _edits):
                table = EditTable(database)
                return await table.newest(
                    PastEdit, video_id=video, by=by, kind=kind, limit=limit, before=before
                )

        found = run(look)
        if as_json:
            print_json(found)
            return
        for past in found:
            _say(f"{past.id:>7}  {past.video_id} {past.segment_file}  {_line_of(past)}")
        if not found:
            _say("nobody has said anything yet")
        elif len(found) == limit:
            _say(f"more: --before {found[-1].id}")


def _add_show(group: typer.Typer, run: Run) -> None:
    @group.command("show")
    def show(video: Video, segment: ClipFile, data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """One clip: what stands, what the model said, all edits, and other clips of the same audio.

        Example: lipika edits show v7 speaker0_00000_00850.flac
        """
        from lipika.db.edits import EditTable
        from lipika.jobs.edits import open_edits

        async def look() -> tuple[EditableClip, list[PastEdit], list[TwinClip]]:
            async with open_edits(data_dir) as (_, database, edits):
                clip = await edits.clip(video, segment)
                history = await edits.history(video, segment)
                return clip, history, await EditTable(database).twins(video, segment)

        clip, history, twins = run(look)
        if as_json:
            print_json({"clip": clip, "history": history, "same_audio": twins})
        else:
            _print_clip(clip, history, twins)


def _add_check(group: typer.Typer) -> None:
    @group.command("check")
    def check(
        text: Annotated[
            str, typer.Argument(metavar="TEXT", help="As it would be typed.", show_default=False)
        ],
        language: Annotated[str | None, typer.Option(help="Code of its language, such as hi.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """The remarks that a reviewer sees while typing. No database, nothing is saved.

        Example: lipika edits check 'आज ਮੌਸਮ अच्छा है [joy]' --language hi
        """
        from lipika.languages import find_language
        from lipika.validation.typing import check_typed

        known = find_language(language)
        remarks = check_typed(text, known.code if known else None)
        if as_json:
            print_json(remarks)
            return
        for one in remarks:
            place = f" at {one.start}: {text[one.start : one.end]!r}" if one.end else ""
            _say(f"{one.severity:<4}  {one.code}{place}: {one.message}")
        if not remarks:
            _say("nothing to remark")


def _line_of(past: PastEdit) -> str:
    told = past.reason if past.kind == "unusable" else past.tagged if past.kind == "text" else past.note
    of = f" {past.of_edit}" if past.of_edit else ""
    refused = " (refused: changed meanwhile)" if past.refused else ""
    return (
        f"{past.edited_at:%Y-%m-%d %H:%M}  {past.edited_by}: {past.kind}{of}{refused}"
        f"{f'  {told}' if told else ''}"
    )


def _print_clip(clip: EditableClip, history: list[PastEdit], twins: list[TwinClip]) -> None:
    from lipika.people.edits import open_lanes
    from lipika.people.rules import shown_text

    lanes = open_lanes(clip.asr_eligible, clip.tts_clean_eligible, clip.tts_expressive_eligible)
    whose = f"by {clip.edited_by}" if clip.edit_id else "by the model"
    _say(f"{clip.video_id} {clip.segment_file}  {clip.status}, {clip.duration_ms / 1000:.1f} s")
    _say(f"text ({whose}): {shown_text(clip.transcription, clip.tagged) or '-'}")
    if clip.edit_id:
        _say(f"the model said: {shown_text(clip.model_transcription, clip.model_tagged) or '-'}")
    _say(
        f"language {clip.detected_language or '-'}, score {clip.quality_score or 0:.2f}, lanes {_words(lanes)}"
    )
    for found in clip.old_findings():
        _say(f"  {found.severity:<4}  {found.code}: {found.evidence}")
    _say(f"version {clip.version}")
    for past in history:
        _say(f"{past.id:>7}  {_line_of(past)}")
    for twin in twins:
        _say(f"same audio: {twin.video_id} {twin.segment_file}  {twin.transcription or '-'}")


# ----------------------------------------------------------------------------- saying


def _add_changes(group: typer.Typer, run: Run) -> None:
    @group.command("set")
    def set_text(
        video: Video,
        segment: ClipFile,
        text: Annotated[
            str, typer.Option(help="What is said, event tags among the words.", show_default=False)
        ],
        language: Annotated[str, typer.Option(help="Code of the language, where it was wrong.")] = "",
        note: Note = "",
        by: By = None,
        version: Version = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Correct the text of a clip.

        Example: lipika edits set v7 speaker0_00000_00850.flac --text 'आज मौसम अच्छा है [laugh]' --by asha
        """
        from lipika.people.rules import edit_text

        async def change(edits: Edits) -> Saved | Conflict:
            edit = edit_text(text, language=language, note=note)
            return await edits.save_edit(video, segment, version, edit, by or _user())

        _tell(_change(run, data_dir, change), as_json)

    @group.command("accept")
    def accept_text(
        video: Video,
        segment: ClipFile,
        note: Note = "",
        by: By = None,
        version: Version = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Say that a clip's text is right as it stands.

        Example: lipika edits accept v7 speaker0_00000_00850.flac --by asha
        """
        from lipika.people.rules import accept

        async def change(edits: Edits) -> Saved | Conflict:
            return await edits.save_edit(video, segment, version, accept(note), by or _user())

        _tell(_change(run, data_dir, change), as_json)

    @group.command("unusable")
    def unusable(
        video: Video,
        segment: ClipFile,
        reason: Annotated[str, typer.Option(help="The reason; exports tell it.", show_default=False)],
        note: Note = "",
        by: By = None,
        version: Version = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Say that nobody should use a clip: all lanes close.

        Example: lipika edits unusable v7 speaker0_00000_00850.flac --reason 'two people at once'
        """
        from lipika.people.rules import call_unusable

        async def change(edits: Edits) -> Saved | Conflict:
            return await edits.save_edit(video, segment, version, call_unusable(reason, note), by or _user())

        _tell(_change(run, data_dir, change), as_json)


def _add_takings_back(group: typer.Typer, run: Run) -> None:
    @group.command("undo")
    def undo(
        video: Video,
        segment: ClipFile,
        redo: Annotated[
            bool, typer.Option("--redo", help="Put in force again what was undone last.")
        ] = False,
        note: Note = "",
        by: By = None,
        version: Version = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Take the last edit of a clip back: the one before it stands again, or the model's text.

        Example: lipika edits undo v7 speaker0_00000_00850.flac
        """

        async def change(edits: Edits) -> Saved | Conflict:
            do = edits.redo if redo else edits.undo
            return await do(video, segment, by or _user(), expected=version, note=note)

        _tell(_change(run, data_dir, change), as_json)


def _change(
    run: Run, data_dir: Path | None, change: Callable[[Edits], Coroutine[Any, Any, Saved | Conflict]]
) -> Saved | Conflict:
    from lipika.jobs.edits import on_edits

    outcome: Saved | Conflict = run(lambda: on_edits(data_dir, change))
    return outcome


def _tell(outcome: Saved | Conflict, as_json: bool) -> None:
    """Exit code 1: somebody else was first."""
    from lipika.people.edits import Conflict

    refused = isinstance(outcome, Conflict)
    if as_json:
        print_json({"saved": not refused, **_fields_of(outcome)})
    elif isinstance(outcome, Conflict):
        _say(f"not in force: {outcome}. Look again (`lipika edits show`); its version is {outcome.version}")
    else:
        stands = (
            "the model's text stands again" if outcome.by_model else f"edit {outcome.edit_id} is in force"
        )
        _say(f"{stands}; lanes: {_words(outcome.lanes)}")
        for found in outcome.findings:
            _say(f"  {found.severity:<4}  {found.code}: {found.evidence}")
    if refused:
        raise typer.Exit(1)


def _fields_of(outcome: Saved | Conflict) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__dataclass_fields__}


# ----------------------------------------------------------------------------- out and in


def _add_exchange(group: typer.Typer, run: Run) -> None:
    @group.command("export")
    def export(
        file: Annotated[
            Path | None, typer.Argument(metavar="[FILE]", help="Default: stdout.", show_default=False)
        ] = None,
        form: Annotated[
            ExchangeForm, typer.Option("--format", help="A table, or tasks of Label Studio.")
        ] = ExchangeForm.CSV,
        video: Annotated[str | None, typer.Option(help="Only of this video.")] = None,
        language: Annotated[str | None, typer.Option(help="Only with this hint, else heard so.")] = None,
        finding: Annotated[
            str | None, typer.Option("--with-finding", help="Only with this finding, such as loop.")
        ] = None,
        below: Annotated[
            float | None, typer.Option(min=0, max=1, help="Only with a score below this.")
        ] = None,
        edited: Annotated[
            bool | None,
            typer.Option("--edited/--unedited", help="Only those that people have edited, or not."),
        ] = None,
        limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
        audio_url: Annotated[
            str, typer.Option(help="Label Studio: address of a clip's audio.")
        ] = "{video_id}/{segment_file}",
        label_config: Annotated[
            bool, typer.Option("--label-config", help="Only print the labelling interface for Label Studio.")
        ] = False,
        data_dir: DataDir = None,
    ) -> None:
        """Clips for people to look at elsewhere; `lipika edits import` takes what they change.

        Example: lipika edits export todo.csv --language hi --with-finding rate_high --unedited
        """
        from lipika.db.edits import ClipFilter
        from lipika.jobs.edits import send_clips
        from lipika.people.exchange import LABEL_CONFIG, write_table, write_tasks

        if label_config:
            typer.echo(LABEL_CONFIG, nl=False)
            return
        wanted = ClipFilter(video, language, finding, below, edited)
        clips = run(lambda: send_clips(data_dir, wanted, limit))
        pieces = (
            (line.encode("utf-8", "replace") for line in write_table(clips))
            if form is ExchangeForm.CSV
            else write_tasks(clips, audio_url)
        )
        _write(file, b"".join(pieces))
        _note(f"{_count(len(clips), 'clip')}{f' in {file}' if file else ''}")

    @group.command("import")
    def import_edits(
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help="CSV, or Label Studio's JSON.", show_default=False)
        ],
        by: By = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be saved.")] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Save what people have changed in an export. Again, it changes nothing; a bad row costs itself alone.

        Exit code 1: some rows were not taken, each with its reason.

        Example: lipika edits import todo.csv --by asha
        """
        from lipika.jobs.edits import read_file, take_in

        async def take() -> ImportReport:
            return await take_in(data_dir, read_file(file), by or _user(), dry_run=dry_run)

        report: ImportReport = run(take)
        if as_json:
            print_json(report)
        else:
            _say(
                f"{_count(report.rows, 'row')}: {report.saved:,} {'to be saved' if dry_run else 'saved'},"
                f" {report.untouched:,} untouched, {report.unchanged:,} as they are already,"
                f" {len(report.problems):,} not taken"
            )
            for problem in report.problems:
                _say(f"  {problem.place}: {problem.reason}")
        if report.problems:
            raise typer.Exit(1)


def _write(file: Path | None, content: bytes) -> None:
    if file is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{file}: it cannot be written: {error.strerror}") from None


# ----------------------------------------------------------------------------- result archives


def _add_repack(app: typer.Typer, run: Run) -> None:
    @app.command("repack")
    def repack(
        videos: Annotated[
            list[str] | None,
            typer.Argument(metavar="[VIDEO]...", help="Only of these. Default: all.", show_default=False),
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Rewrite result tars that lack what people have said since: only those, each verified, in one step.

        A tar's clips take over what their rows say; audio and all else stays byte for byte. It may be stopped and run
        again at any time. Exit code 1: some tar could not be rewritten.

        Example: lipika repack --dry-run
        """
        from lipika.jobs.edits import repack_archives

        report: RepackReport = run(lambda: repack_archives(data_dir, videos or (), dry_run=dry_run))
        if as_json:
            print_json(report.document())
        else:
            _print_repacked(report)
        if report.problems:
            raise typer.Exit(1)


def _print_repacked(report: RepackReport) -> None:
    done = "to be rewritten" if report.dry_run else "rewritten"
    for one in report.archives:
        if one.problem:
            _say(f"{one.video_id}: not rewritten: {one.problem}")
        elif one.clips:
            _say(f"{one.video_id}: {_count(len(one.clips), 'clip')} {done}: {one.url}")
        if one.missing:
            _say(f"{one.video_id}: not in its tar, or with other audio: {', '.join(one.missing[:5])}")
    clips = sum(len(one.clips) for one in report.rewritten)
    _say(
        f"{_count(len(report.rewritten), 'tar')} {done}, {_count(clips, 'clip')}"
        if report.archives
        else "every result tar says what people have said"
    )


# ----------------------------------------------------------------------------- plumbing


def _words(lanes: tuple[str, ...]) -> str:
    return ", ".join(lanes) or "none open"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name in a container
        return ""


def _say(text: str) -> None:
    open_console().print(text, markup=False, soft_wrap=True)


def _note(text: str) -> None:
    typer.echo(text, err=True)
