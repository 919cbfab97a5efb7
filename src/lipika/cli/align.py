"""The commands `align`, `vote` and `score`: `add_to` puts them on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, print_json
from lipika.errors import UsageError
from lipika.languages import LANGUAGES, find_language

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...", help="Result tars, folders of them, or s3://bucket/prefix.", show_default=False
    ),
]


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the commands on `app`; `run` is the command line's own."""

    @app.command()
    def align(
        sources: Sources,
        rows: Annotated[bool, typer.Option("--rows", help="Their rows in the database, too.")] = False,
        actors: Annotated[
            int, typer.Option(min=0, help="Listeners on Ray. 0: one, in this process, without Ray.")
        ] = 0,
        gpus_each: Annotated[float, typer.Option(min=0, help="GPUs for each actor, such as 1 or 0.5.")] = 0.0,
        cpus_each: Annotated[float, typer.Option(min=0.1, help="CPU cores for each actor.")] = 1.0,
        address: Annotated[
            str, typer.Option(help="A running Ray cluster. Default: Ray on this machine alone.")
        ] = "",
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Let IndicConformer listen to finished results and compare. Nothing is asked or paid.

        Findings, scores and lanes follow; answers and audio stay as they are. What this version has listened to is
        passed over, so that a run that was stopped goes on where it was.

        Example: lipika align out/ --rows --actors 8 --gpus-each 1
        """
        from lipika.jobs.align import AlignOrder, align_stored, print_done
        from lipika.rework.listeners import Actors

        chosen = Actors(actors, gpus_each, cpus_each, address) if actors else None
        done = run(lambda: align_stored(AlignOrder(sources, rows, chosen, data_dir)))
        if as_json:
            print_json(done.document())
        else:
            print_done(done, open_console())
        if done.problems:
            raise typer.Exit(1)

    @app.command()
    def vote(
        sources: Sources,
        hypotheses: Annotated[
            list[Path] | None,
            typer.Option(
                help="A folder of texts from elsewhere, VIDEO/CLIP.txt or NeMo manifests; may be repeated."
            ),
        ] = None,
        person: Annotated[
            list[Path] | None,
            typer.Option(
                help="What a person has read: a table (csv, tsv, jsonl) or such a folder; may be repeated."
            ),
        ] = None,
        references: Annotated[
            bool,
            typer.Option(
                "--references",
                help="Texts that came with the recordings vote, too (`lipika pack` keeps them).",
            ),
        ] = False,
        rows: Annotated[bool, typer.Option("--rows", help="Their rows in the database, too.")] = False,
        ask: Annotated[
            bool,
            typer.Option(
                "--ask", help="Ask SECOND_OPINION_MODEL first, for a sample and for what is in doubt."
            ),
        ] = False,
        max_usd: Annotated[
            float | None, typer.Option(min=0.001, help="Spend no more than this on it [SECOND_OPINION_USD].")
        ] = None,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Weigh finished results against what others say: gold, silver or bronze.

        Voters are the clip's own text, what IndicConformer heard (`lipika align`), folders of texts, each by its
        folder's name, people, whose text is the measure, with --references texts that came with the recordings (on
        clips that are a whole segment), and with --ask another model, which is all that costs anything. Documents
        get voters and tiers, in NeMo Curator's words, too.

        Example: lipika vote out/ --hypotheses whisper/ --person asha.csv --rows
        """
        from lipika.jobs.vote import VoteOrder, print_votes, vote_on_stored

        order = VoteOrder(sources, hypotheses or (), rows, data_dir, person or (), references)
        if ask:
            from lipika.canary.opinions import vote_with_opinions

            done = run(lambda: vote_with_opinions(order, max_usd))
        else:
            done = run(lambda: vote_on_stored(order))
        if as_json:
            print_json(done.document())
        else:
            print_votes(done, open_console())
        if done.problems:
            raise typer.Exit(1)

    @app.command()
    def score(
        sources: Sources,
        language: Annotated[str, typer.Option(help="Score this language alone, such as hi.")] = "",
        by_model: Annotated[
            bool,
            typer.Option("--by-model", help="Score each voter's text, too: models, IndicConformer, folders."),
        ] = False,
        manifest: Annotated[
            Path | None,
            typer.Option(
                help="Write the source's rows with pred_text, as NeMo Curator has them, to this file."
            ),
        ] = None,
        worst: Annotated[int, typer.Option(min=0, help="List so many segments in which most differs.")] = 10,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Hold results against the transcripts that came with the recordings: CER and WER, by language.

        References are texts that `lipika pack` found in a source. Rates have 95 % intervals; `spelling aside` counts
        letters by their sound, so that neither spelling nor script nor spaces are errors. A segment of several clips
        is scored as a whole. Nothing is asked or paid, and nothing is changed. With --manifest the rows of the source
        come out again, as they were, with pred_text and _skipme beside their own text.

        Example: lipika score out/ --by-model
        """
        from lipika.jobs.score import ScoreOrder, print_scores, score_stored

        order = ScoreOrder(sources, _code(language), by_model, worst, manifest, data_dir)
        done = run(lambda: score_stored(order))
        if as_json:
            print_json(done.document())
        else:
            print_scores(done, open_console())
        if done.problems:
            raise typer.Exit(1)


def _code(language: str) -> str:
    """Raises UsageError: no language is called so."""
    found = find_language(language)
    if language and found is None:
        raise UsageError(f"--language {language}: not one of {', '.join(LANGUAGES)}")
    return found.code if found else ""
