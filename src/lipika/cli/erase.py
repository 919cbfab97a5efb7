"""The commands `erase ...`: what people no longer agree to. `add_to` puts them on the command line."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json
from lipika.errors import UsageError

if TYPE_CHECKING:
    from lipika.erasure.course import Erased, Looked

_CANNOT = (
    "Not removed, since no command of ours reaches it: backups, write-ahead logs and point-in-time recovery of the"
    " database; older versions of objects in a bucket that keeps them; copies that others have made; what the"
    " provider keeps. docs/erasure.md says how to see to these."
)


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the group on `app`; `run` is the command line's own."""
    group = typer.Typer(invoke_without_command=True)
    app.add_typer(group, name="erase")
    _add_erase(group, run)
    _add_resume(group, run)
    _add_list(group, run)
    _add_show(group, run)


def _add_erase(group: typer.Typer, run: Run) -> None:
    @group.callback()
    def erase(
        context: typer.Context,
        video: Annotated[list[str] | None, typer.Option(help="A whole video. Again for more.")] = None,
        speaker: Annotated[
            list[str] | None,
            typer.Option(
                metavar="VIDEO:SPEAKER",
                help="A speaker of a video, such as v7:speaker0; '*:NAME' in every video with results, where"
                " the name is one person's.",
            ),
        ] = None,
        clip: Annotated[
            list[str] | None, typer.Option(metavar="VIDEO/FILE", help="One clip, by its file's name.")
        ] = None,
        lists: Annotated[
            list[Path] | None,
            typer.Option(
                "--list",
                metavar="FILE",
                help="CSV or JSON lines with video_id, and speaker or segment_file where that is all; or a text, one"
                " a line.",
            ),
        ] = None,
        by: Annotated[
            str | None, typer.Option(help="Who does it; default: the name you are logged in under.")
        ] = None,
        inputs: Annotated[
            bool,
            typer.Option("--inputs", help="Remove the archives of whole videos, too, where they came from."),
        ] = False,
        export: Annotated[
            list[str] | None,
            typer.Option(metavar="DEST", help="Look into this export, too: one the database does not know."),
        ] = None,
        keep_exports: Annotated[
            bool,
            typer.Option(
                "--keep-exports",
                help="Leave exports where they are, marked: they are refused until made anew.",
            ),
        ] = False,
        certificate: Annotated[
            Path | None,
            typer.Option(metavar="FOLDER", help="Write the certificate there, with names: JSON and text."),
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Remove a speaker, videos or clips: rows, answers, edits, results, saved answers, exports, canaries' files.

        It says what it has found and asks. What is removed is looked for once more, and a certificate says so. A
        tombstone of digests keeps it away: the video is refused, and clips of the same audio are discarded. It may be
        stopped and run again at any time; what a worker holds is taken from it.

        Example: lipika erase --speaker v7:speaker0 --by asha --dry-run
        """
        if context.invoked_subcommand is not None:
            return
        from lipika.erasure.course import ErasureOptions
        from lipika.erasure.wanted import read_wanted
        from lipika.jobs.erase import find_everywhere, open_eraser

        wanted = read_wanted(video or (), speaker or (), clip or (), lists or ())
        options = ErasureOptions(inputs, keep_exports, tuple(export or ()))

        async def look() -> Looked:
            async with open_eraser(data_dir) as (eraser, database):
                return await eraser.look(await find_everywhere(database, wanted), options)

        async def do() -> Erased:
            async with open_eraser(data_dir, _note) as (eraser, database):
                return await eraser.erase(await find_everywhere(database, wanted), by or _user(), options)

        looked: Looked = run(look)
        if dry_run:
            _print_looked(looked, as_json=as_json)
            return
        if not yes:
            _print_looked(looked, to_stderr=as_json)
            _ask()
        _tell(run(do), certificate, as_json=as_json)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nothing was removed: say --yes where nobody can be asked")
    if not typer.confirm("Remove all of it, for good?", err=True):
        raise UsageError("nothing was removed")


def _add_resume(group: typer.Typer, run: Run) -> None:
    @group.command("resume")
    def resume(
        number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `lipika erase list` shows it.")],
        certificate: Annotated[
            Path | None,
            typer.Option(metavar="FOLDER", help="Write the certificate there, with names: JSON and text."),
        ] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Bring an erasure that was stopped to its end; so does its own command, run again.

        Example: lipika erase resume 3
        """
        from lipika.jobs.erase import open_eraser

        async def do() -> Erased:
            async with open_eraser(data_dir, _note) as (eraser, _):
                return await eraser.go_on(number)

        _tell(run(do), certificate, as_json=as_json)


def _add_list(group: typer.Typer, run: Run) -> None:
    @group.command("list")
    def list_erasures(
        limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Erasures, newest first. Those that were stopped are not done: resume them.

        Example: lipika erase list
        """
        from lipika.db.erasures import Erasures
        from lipika.jobs.erase import open_eraser

        async def look() -> Any:
            async with open_eraser(data_dir) as (_, database):
                return await Erasures(database).newest(limit)

        found = run(look)
        if as_json:
            print_json(found)
            return
        for one in found:
            what = "done" if one.state == "done" else f"not done: lipika erase resume {one.id}"
            removed = sum(number for place, number in one.found.items() if place != "erasure")
            when = f"{one.started_at:%Y-%m-%d %H:%M}"
            _say(f"{one.id:>5}  {when}  by {one.requested_by or '-'}  {removed:,} removed  {what}")
        if not found:
            _say("nothing was ever erased")


def _add_show(group: typer.Typer, run: Run) -> None:
    @group.command("show")
    def show(
        number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `lipika erase list` shows it.")],
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """One erasure: what was removed where. Names are in the certificate that was written then, and nowhere else.

        Example: lipika erase show 3
        """
        from lipika.db.erasures import Erasures
        from lipika.jobs.erase import open_eraser

        async def look() -> Any:
            async with open_eraser(data_dir) as (_, database):
                return await Erasures(database).find(number)

        row = run(look)
        if row is None:
            raise UsageError(f"there is no erasure {number}: `lipika erase list` shows those there are")
        if as_json:
            print_json(row)
        elif row.certificate is None:
            _say(f"erasure {row.id} by {row.requested_by} is not done: lipika erase resume {row.id}")
        else:
            told = {
                "erasure": row.id,
                "requested_by": row.requested_by,
                "started_at": row.started_at.isoformat(),
                "finished_at": row.finished_at.isoformat(),
                **row.certificate,
            }
            _say("\n".join(_lines(told)))


# ----------------------------------------------------------------------------- what is said


def _print_looked(looked: Looked, *, as_json: bool = False, to_stderr: bool = False) -> None:
    if as_json:
        print_json({"found": looked.found, "at_work": looked.busy, **_names_told(looked.scope)})
        return
    say = _note if to_stderr else _say
    say(
        "This would be removed:"
        if looked.found
        else "Nothing is there of it; tombstones would be set all the same."
    )
    for place, number in looked.found.items():
        say(f"  {number:>9,}  {_NAMES.get(place, place)}")
    for video in looked.busy:
        say(
            f"  {video} is taken from the worker that is at work on it; this waits until its lease has run out"
        )
    if looked.scope.equal_audio:
        say(f"  {looked.scope.equal_audio:,} clips of other videos have the same audio, and go, too")
    for line in _say_of_exports(looked.scope) + _say_of_inputs(looked.scope):
        say(f"  {line}")


def _tell(erased: Erased, folder: Path | None, *, as_json: bool) -> None:
    document = {**erased.certificate, **_names_told(erased.scope)}
    lines = [
        *_lines(erased.certificate),
        *_say_of_exports(erased.scope),
        *_say_of_inputs(erased.scope),
        "",
        _CANNOT,
    ]
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"erasure-{erased.id}.json").write_bytes(
                orjson.dumps(document, option=orjson.OPT_INDENT_2)
            )
            (folder / f"erasure-{erased.id}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
        except OSError as error:
            _note(f"{folder}: the certificate could not be written: {error.strerror}; it follows")
    if as_json:
        print_json(document)
    else:
        _say("\n".join(lines))


def _names_told(scope: Any) -> dict[str, object]:
    """Names, which only the person who asked is told."""
    return {
        "wanted": scope.names,
        "exports_to_make_anew": scope.exports,
        "input_archives": [
            {
                "video_id": one["video_id"],
                "archive": one["source_key"],
                "removed": scope.options.inputs and one["whole"],
            }
            for one in scope.videos
            if one["source_key"]
        ],
    }


def _lines(told: Mapping[str, Any]) -> list[str]:
    """A certificate as people read it."""
    lines = [
        f"Erasure {told['erasure']}, by {told['requested_by'] or '-'}: {told['started_at']} to {told['finished_at']}",
        f"{told['names']:,} names, {told['videos']:,} videos; the same audio elsewhere: {told['equal_audio']:,}",
        "Removed, and looked for again afterwards:",
    ]
    lines += [
        f"  {one['found']:>9,}  {_NAMES.get(place, place)}; left: {one['left']}"
        for place, one in told["removed"].items()
    ]
    return lines if told["removed"] else [*lines, "  nothing was there; the tombstones stand"]


def _say_of_exports(scope: Any) -> list[str]:
    lines = []
    for hit in scope.exports:
        what = "stays, marked" if scope.options.keep_exports else "removed"
        shards: Sequence[str] = hit["shards"]
        told = ", ".join(shards[:5]) + (f" and {len(shards) - 5} more" if len(shards) > 5 else "")
        lines.append(
            f"export {hit['dest']}: {hit['clips']:,} of its clips, in {told or 'no shard'}; {what}. Make it anew:"
        )
        lines.append(f"    {hit['command']}")
    return lines


def _say_of_inputs(scope: Any) -> list[str]:
    lines = []
    for one in scope.videos:
        if not one["source_key"] or (scope.options.inputs and one["whole"]):
            continue
        how = (
            "--inputs removes it"
            if one["whole"]
            else "it holds others, too: pack it anew without this speaker"
        )
        lines.append(f"input archive {one['source_key']} stays: {how}")
    return lines


_NAMES = {
    "worker_errors": "errors that name or quote somebody",
    "workers": "workers' last words (cleaned)",
    "notices": "messages to people (cleaned)",
    "saved_filters": "saved filters",
    "datasets": "exports on record whose options name somebody",
    "audit_judgements": "judgements of audits",
    "audit_clips": "clips of audits",
    "comparison_clips": "clips that people voted on, with their votes",
    "redos": "orders of redo that name somebody (cleaned)",
    "redo_clips": "clips of redo's orders",
    "redo_turns": "turns of redo",
    "canary_clips": "clips of canaries",
    "canary_runs": "reports of canaries (figures stay)",
    "edited_clips": "clips that people have edited",
    "transcription_edits": "edits",
    "transcription_flags": "flags",
    "transcription_voters": "texts of other listeners",
    "transcription_results": "results",
    "transcription_answers": "kept answers",
    "transcription_batches": "windows that list the video (cleaned)",
    "video_queue": "rows of the queue (of others: errors cleaned)",
    "results": "result archives (of speakers and clips: written anew without)",
    "saved_answers": "objects with saved answers",
    "saved_answers_here": "files with saved answers on this machine",
    "open_uploads": "uploads that were never completed",
    "canary_files": "files of canaries",
    "exports": "exports",
    "inputs": "input archives",
}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name in a container
        return ""


def _say(text: str) -> None:
    open_console().print(text, markup=False, soft_wrap=True)


def _note(text: str) -> None:
    typer.echo(text, err=True)
