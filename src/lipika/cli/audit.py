"""The commands of `audit`: `add_to` puts them on the command line."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json
from lipika.errors import UsageError

err = Console(stderr=True, highlight=False)


class AuditLane(StrEnum):
    """A use that clips may be open for."""

    ASR = "asr"
    TTS_CLEAN = "tts_clean"
    TTS_EXPRESSIVE = "tts_expressive"


Number = Annotated[
    int | None, typer.Argument(metavar="[AUDIT]", help="Its number. Default: the newest.", show_default=False)
]
Languages = Annotated[
    list[str] | None,
    typer.Option("--languages", "--language", help="Only these; may be repeated, or with commas between."),
]


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the group on `app`; `run` is the command line's own."""
    audit = typer.Typer(
        no_args_is_help=True,
        help="How good the corpus is, by what people hear in a sample: CER with intervals, verdicts.\n\n"
        "`draw` picks clips by chance; people hear them on the board (Audit) or in a table (`export`, `import`);"
        " `report` says what that means for the whole corpus.",
    )
    app.add_typer(audit, name="audit")
    _add_draw(audit, run)
    _add_looks(audit, run)
    _add_report(audit, run)
    _add_exchange(audit, run)
    _add_apply(audit, run)


def _add_draw(audit: typer.Typer, run: Run) -> None:
    @audit.command("draw")
    def draw_clips(
        languages: Languages = None,
        lane: Annotated[
            AuditLane | None, typer.Option(help="Only clips that are open for this use.", show_default=False)
        ] = None,
        per_language: Annotated[
            int, typer.Option(min=10, max=10_000, help="Clips to hear of each language.")
        ] = 300,
        double: Annotated[
            float, typer.Option(min=0.0, max=1.0, help="Share of them that two people hear.")
        ] = 0.1,
        limit_cer: Annotated[
            float, typer.Option(min=0.001, max=1.0, help="CER up to which a language is accepted.")
        ] = 0.05,
        limit_unusable: Annotated[
            float, typer.Option(min=0.0, max=1.0, help="Share of unusable clips up to which it is accepted.")
        ] = 0.02,
        seed: Annotated[
            int | None,
            typer.Option(
                min=0,
                max=2**31 - 1,
                help="Draws the same again. Default: by chance.",
                show_default=False,
            ),
        ] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Draw clips to be heard: by chance, of each language, lane and tier, whatever video they are in.

        All finished clips are read once for it, in pages. 300 clips of a language give its CER to about 1 point,
        where a second listener has heard the corpus (`lipika align`), and take two and a half hours to hear.

        Example: lipika audit draw --languages hi,ta --per-language 300
        """
        import secrets

        from lipika.audit.draw import DrawOrder
        from lipika.jobs.audit import draw_audit, print_state
        from lipika.machine import user_name

        order = DrawOrder(
            seed=secrets.randbelow(2**31) if seed is None else seed,
            drawn_by=user_name() or "operator",
            languages=_codes(languages),
            lane=lane.value if lane else "",
            per_language=per_language,
            double_share=double,
            limit_cer=limit_cer,
            limit_unusable=limit_unusable,
        )
        state = run(lambda: draw_audit(order, data_dir))
        if as_json:
            print_json(state.document())
        else:
            print_state(state, open_console())


def _add_looks(audit: typer.Typer, run: Run) -> None:
    @audit.command("list")
    def list_audits(data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """All audits, the newest first.

        Example: lipika audit list
        """
        from lipika.jobs.audit import list_states

        states = run(lambda: list_states(data_dir))
        if as_json:
            print_json({"audits": [state.document() for state in states]})
            return
        out = open_console()
        for state in states:
            languages = ", ".join(state.audit.languages)
            out.print(
                f"{state.audit.id}  {state.audit.drawn_at:%Y-%m-%d %H:%M}  {state.made:,} of {state.wanted:,}"
                f" judgements  {languages}"
            )
        if not states:
            err.print("Nothing has been drawn yet: lipika audit draw")

    @audit.command("status")
    def show_status(number: Number = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """An audit: how far each language is, and what is left to hear.

        Example: lipika audit status
        """
        from lipika.jobs.audit import print_state, show_state

        state = run(lambda: show_state(number, data_dir))
        if as_json:
            print_json(state.document())
        else:
            print_state(state, open_console())

    @audit.command("more")
    def hear_more(
        clips: Annotated[int, typer.Argument(min=1, max=10_000, help="Clips more of each language.")],
        number: Annotated[
            int | None, typer.Option("--audit", help="Its number. Default: the newest.", show_default=False)
        ] = None,
        languages: Languages = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Draw more clips out of an audit's reserve, where a verdict is undecided.

        The corpus is that of the first draw. Each further draw spends half as much of the chance of a wrong verdict
        as the one before, so that all together stay below 5 %: verdicts get harder to have.

        Example: lipika audit more 120 --languages ta
        """
        from lipika.jobs.audit import draw_more, print_state

        state, drawn = run(lambda: draw_more(number, clips, _codes(languages), data_dir))
        if as_json:
            print_json(state.document() | {"drawn": drawn})
            return
        out = open_console()
        out.print(f"{drawn:,} more clips")
        print_state(state, out)


def _add_report(audit: typer.Typer, run: Run) -> None:
    @audit.command("report")
    def report_audit(
        number: Number = None,
        out_file: Annotated[
            Path | None,
            typer.Option("--out", help="Write the report as HTML here, a file that needs nothing else."),
        ] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Say how good the corpus is: CER and unusable clips with 95 % intervals, and verdicts.

        By language, lane and tier. Before all that was drawn is heard, figures are `so far` and there is no verdict.
        Exit code 0 whatever the verdicts are; `--json` has them.

        Example: lipika audit report --out report.html
        """
        from lipika.audit.figures import make_document
        from lipika.audit.page import make_page
        from lipika.jobs.audit import measure_audit, print_figures

        figures = run(lambda: measure_audit(number, data_dir))
        if out_file is not None:
            _write(out_file, make_page(figures))
        if as_json:
            print_json(make_document(figures))
        else:
            print_figures(figures, open_console())
        if out_file is not None:
            err.print(f"The report is in {out_file}")


def _add_exchange(audit: typer.Typer, run: Run) -> None:
    @audit.command("export")
    def export_clips(
        out_file: Annotated[Path, typer.Option("--out", help="Write the table (CSV) here.")],
        number: Number = None,
        languages: Languages = None,
        audio: Annotated[
            Path | None,
            typer.Option(
                "--audio", help="Write the clips themselves (FLAC) into this folder, named by `place`."
            ),
        ] = None,
        everything: Annotated[bool, typer.Option("--all", help="Those that have been heard, too.")] = False,
        data_dir: DataDir = None,
    ) -> None:
        """The clips of an audit as a table (CSV), for people without the board.

        They fill in `usable` (yes or no) and, where the text is wrong, `corrected`; `import` reads it back. `--audio`
        puts the clips beside it: 00017.flac is that of `place` 17.

        Example: lipika audit export --out clips.csv --audio clips/ --languages ta
        """
        from lipika.jobs.audit import export_table

        codes = _codes(languages)
        audit_id, clips, table = run(lambda: export_table(number, codes, data_dir, everything=everything))
        _write(out_file, table)
        err.print(f"{clips:,} clips of audit {audit_id} in {out_file}")
        if audio is not None:
            written, missing = run(lambda: _write_audio(table, audio, data_dir))
            lost = f"; of {missing:,} no archive holds any" if missing else ""
            err.print(f"{written:,} of them as audio in {audio}{lost}")
            if missing:
                raise typer.Exit(1)

    @audit.command("import")
    def import_clips(
        table: Annotated[Path, typer.Argument(help="The table, as `export` wrote it, filled in.")],
        by: Annotated[str, typer.Option("--by", help="The name of whoever heard them.")],
        number: Annotated[
            int | None, typer.Option("--audit", help="Its number. Default: the newest.", show_default=False)
        ] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Read back a table that somebody has filled in. The same table again changes nothing.

        Example: lipika audit import clips.csv --by mira
        """
        from lipika.jobs.audit import import_table

        text = _read(table)
        audit_id, kept, unwanted = run(lambda: import_table(number, text, by, data_dir))
        if as_json:
            print_json({"audit": audit_id, "kept": kept, "not_wanted": unwanted})
            return
        late = f"; {unwanted:,} that others have heard already were left out" if unwanted else ""
        err.print(f"{kept:,} judgements of audit {audit_id} kept{late}")


async def _write_audio(table: str, folder: Path, data_dir: Path | None) -> tuple[int, int]:
    """(clips written, clips without audio) of a table that was just made."""
    import csv
    import io

    from lipika.config import load_settings
    from lipika.dashboard.clip_audio import ClipAudio
    from lipika.db.clips import ClipQueries
    from lipika.errors import ArchiveError, ObjectMissing
    from lipika.services import Stores, open_database, store_settings

    settings = load_settings(lipika_data_dir=data_dir)
    heard = ClipAudio(Stores(store_settings(settings)), settings.output_url)
    written = missing = 0
    _make_folder(folder)
    async with open_database(settings) as database:
        for row in csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))):
            clip = await ClipQueries(database).one(row["video_id"], row["segment_file"])
            try:
                if clip is None or clip.output_key is None:
                    raise ObjectMissing("the queue does not know it")
                flac = await heard.read(clip.output_key, clip.segment_file)
            except (ObjectMissing, ArchiveError):
                missing += 1
                continue
            _write_bytes(folder / f"{int(row['place']):05d}.flac", flac)
            written += 1
    return written, missing


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--audio {folder}: {error.strerror or error}") from None


def _write_bytes(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def _add_apply(audit: typer.Typer, run: Run) -> None:
    @audit.command("apply")
    def apply_words(
        number: Number = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Put what people corrected in an audit into the corpus, as their edits (`lipika edits`).

        Clips that were changed after the draw, and those with event tags, which a plain correction would lose, stay
        as they are. The figures of the audit do not change: they are of the texts at the draw.

        Example: lipika audit apply --dry-run
        """
        from lipika.jobs.audit_edits import apply_corrections

        done = run(lambda: apply_corrections(number, data_dir, dry_run=dry_run))
        if as_json:
            print_json(done.document())
            return
        would = "would be " if dry_run else ""
        open_console().print(
            f"Audit {done.audit}: {done.corrected:,} clips {would}corrected, {done.unusable:,} {would}unusable;"
            f" left as they are: {done.already:,} that say so already, {done.changed_since:,} changed since the draw,"
            f" {done.with_events:,} with event tags, {done.gone:,} gone"
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8", newline="")
    except OSError as error:
        raise typer.BadParameter(
            f"cannot write {path}: {error.strerror or error}", param_hint="--out"
        ) from None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {path}: {error}", param_hint="TABLE") from None


def _codes(given: list[str] | None) -> tuple[str, ...]:
    from lipika.languages import LANGUAGES, find_language

    codes = []
    for name in (part.strip() for one in given or () for part in one.split(",")):
        language = find_language(name)
        if language is None:
            raise typer.BadParameter(
                f"{name!r} is not one of {', '.join(LANGUAGES)}", param_hint="--languages"
            )
        codes.append(language.code)
    return tuple(dict.fromkeys(codes))
