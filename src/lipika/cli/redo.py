"""The command `redo`: `add_to` puts it on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl

import typer
from rich.console import Console
from rich.markup import escape

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Provider, Run, print_json
from lipika.cli.running import die
from lipika.errors import UsageError
from lipika.wording import money

if TYPE_CHECKING:
    from lipika.config import Settings
    from lipika.db.connection import Database
    from lipika.redo.carry_out import RedoDone
    from lipika.redo.job import RedoRequest

_AT_A_CAP = 5
_STATES = (
    ("replaced", "have the new answer: it is better"),
    ("kept", "keep their result; the new answer is kept aside"),
    ("already", "had an answer of this way already"),
    ("person", "have a person's word, which stands"),
    ("failed", "were asked for in vain"),
    ("no_audio", "lie in no result tar"),
    ("gone", "are other clips by now"),
    ("answered", "are answered and not weighed yet"),
    ("waiting", "are left to ask for"),
)

out = open_console()
err = Console(stderr=True, highlight=False)


def Filter(name: str, told: str) -> Any:  # noqa: N802 - as typer's own
    """An option of text that chooses clips."""
    return typer.Option(f"--{name}", help=told, show_default=False)


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the command on `app`; `run` is the command line's own."""

    @app.command()
    def redo(
        language: Annotated[str, Filter("language", "Clips of this language, such as hi.")] = "",
        finding: Annotated[str, Filter("finding", "With this finding, such as loop.")] = "",
        lane: Annotated[str, Filter("lane", "Fit for this: asr, tts_clean or tts_expressive.")] = "",
        score: Annotated[str, Filter("score", "With a score in this range: ..0.6, or 0.2..0.6.")] = "",
        tier: Annotated[str, Filter("tier", "Of this tier: gold, silver or bronze.")] = "",
        status: Annotated[str, Filter("status", "That ended so: transcribed, no_speech or failed.")] = "",
        video: Annotated[str, Filter("video", "Of this video.")] = "",
        speaker: Annotated[str, Filter("speaker", "Of this speaker.")] = "",
        text: Annotated[str, Filter("text", "With this in their text.")] = "",
        by_model: Annotated[str, Filter("by-model", "Whose result is of this model.")] = "",
        filters: Annotated[
            str, Filter("filter", "The query of the board's page Clips, such as 'finding=loop&language=hi'.")
        ] = "",
        limit: Annotated[
            int | None, typer.Option(min=1, max=100_000, help="No more clips than this.", show_default=False)
        ] = None,
        model: Annotated[
            str | None, typer.Option(help="Ask this model [MODEL_ID].", show_default=False)
        ] = None,
        provider: Annotated[Provider | None, typer.Option(help="Who is asked [PROVIDER].")] = None,
        service_tier: Annotated[
            str | None, typer.Option(help="standard or flex [SERVICE_TIER].", show_default=False)
        ] = None,
        thinking: Annotated[
            str | None, typer.Option(help="Thinking level [THINKING_LEVEL].", show_default=False)
        ] = None,
        answer: Annotated[
            str | None, typer.Option(help="Form of the answer: full or lean [ANSWER].", show_default=False)
        ] = None,
        temperature: Annotated[
            float | None,
            typer.Option(min=0, max=2, help="Sampling temperature [TEMPERATURE].", show_default=False),
        ] = None,
        keep_both: Annotated[
            bool,
            typer.Option("--keep-both", help="Keep every new answer aside, for a person: no result changes."),
        ] = False,
        queued: Annotated[
            bool, typer.Option("--queued", help="Carry out what was ordered on the board, or was stopped.")
        ] = False,
        max_usd: Annotated[
            float | None,
            typer.Option(
                min=0.0, help="End with exit code 5 before this call has cost more dollars than this."
            ),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say how many clips, and what they will cost; ask nobody.")
        ] = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Ask for chosen clips again in another way, and let the better answers be the results.

        Clips are chosen as on the board's page Clips. Both answers of a clip are kept, each under its way of asking
        (`lipika answers`); the better one by the rules of a cascade becomes the result, and only result tars in which
        something changes are rewritten. A clip with a person's word is not asked for. The audio is that of the result
        tars, the budget that of the fleet. It may be stopped at any time: the same command goes on where it was, and
        pays for no answer twice. The exit code is 1 if clips were asked for in vain or left alone.

        Example: lipika redo --finding loop --language hi --model gemini-2.5-pro --dry-run
        """
        from lipika.processes import settle_in
        from lipika.redo.job import RedoRequest
        from lipika.redo.order import read_choice, read_scores

        given = dict(parse_qsl(filters.rpartition("?")[2], keep_blank_values=True)) | {
            name: value
            for name, value in {
                "language": language,
                "finding": finding,
                "lane": lane,
                "tier": tier,
                "status": status,
                "video": video,
                "speaker": speaker,
                "text": text,
                "model": by_model,
                **(read_scores(score) if score else {}),
            }.items()
            if value
        }
        asked = {
            "model_id": model,
            "provider": provider.value if provider else None,
            "service_tier": service_tier,
            "thinking_level": thinking,
            "answer": answer,
            "temperature": temperature,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        if queued and (given or asked or keep_both or limit or dry_run):
            raise UsageError(
                "--queued carries out orders as they were given: of the others only --max-usd goes with it"
            )

        async def job(settings: Settings, database: Database) -> Any:
            settle_in()
            if queued:
                return await _carry_out_queued(settings, database, max_usd)
            request = RedoRequest(read_choice(given), asked, keep_both, limit, max_usd)
            return await _order(settings, database, request, dry_run=dry_run)

        done = run(lambda: _on_settings(data_dir, job))
        if dry_run:
            _print_price(done, as_json=as_json)
        else:
            nothing = "No order waits." if queued else "No clip is chosen: nothing to ask for."
            _report(done, nothing, as_json=as_json)


async def _on_settings(data_dir: Path | None, job: Any) -> Any:
    from lipika.config import load_settings
    from lipika.services import open_database

    settings = load_settings(lipika_data_dir=data_dir)
    async with open_database(settings) as database:
        return await job(settings, database)


async def _carry_out_queued(settings: Settings, database: Database, max_usd: float | None) -> list[RedoDone]:
    from lipika.redo.job import redo_queued

    return [done async for done in redo_queued(settings, database, max_usd)]


async def _order(settings: Settings, database: Database, request: RedoRequest, *, dry_run: bool) -> Any:
    from lipika.redo.job import price_of, redo_clips

    if dry_run:
        return await price_of(settings, database, request)
    done = await redo_clips(settings, database, request)
    return [] if done is None else [done]


# ----------------------------------------------------------------------------- words


def _print_price(price: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(price)
        return
    out.print(str(price), markup=False, soft_wrap=True)
    out.print("Nothing was asked: --dry-run.")


def _report(orders: Sequence[RedoDone], nothing: str, *, as_json: bool) -> None:
    """The orders and their clips in words, and the exit code that they deserve."""
    if as_json:
        print_json({"redos": [asdict(done) | {"left": done.left} for done in orders]})
    elif not orders:
        out.print(nothing)
    else:
        for done in orders:
            _print_done(done)
    last = orders[-1] if orders else None
    if last is not None and last.stopped:
        if last.interrupted:
            err.print("Stopped. What was answered is kept: the same command goes on, and so does --queued.")
            raise typer.Exit(130)
        die(_AT_A_CAP if last.capped else 3, last.stopped)
    if any(done.left or done.refused or done.states.get("failed") for done in orders):
        raise typer.Exit(1)


def _print_done(done: RedoDone) -> None:
    from lipika.redo.order import say_choice

    clips = sum(done.states.values())
    out.print(
        f"[bold]Redo {done.id}[/]: {escape(say_choice(done.query))}: {clips:,} clips, asked"
        f" {escape(done.way) or 'nobody'}{', both answers kept' if done.keep_both else ''}",
        soft_wrap=True,
    )
    if done.refused:
        out.print(f"  It cannot be asked for: {done.refused}", markup=False, soft_wrap=True)
    for state, told in _STATES:
        if done.states.get(state):
            out.print(f"  {done.states[state]:,} {told}")
    before = f"; {done.stored_before:,} answers were there" if done.stored_before else ""
    out.print(f"  {done.asked:,} asked for {money(done.usd)} in this call{before}", soft_wrap=True)
    for problem in done.problems:
        out.print(
            f"  {problem.state}  {problem.video_id}/{problem.segment_file}: {problem.note}",
            markup=False,
            soft_wrap=True,
        )
    for video_id, why in done.left_alone:
        out.print(f"LEFT FOR LATER  {video_id}: {why}", markup=False, soft_wrap=True)
