"""The commands `export ...`: `add_to` puts them on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from lipika.cli.console import open_console
from lipika.cli.options import AsJson, DataDir, Run, note_json, print_json
from lipika.errors import UsageError
from lipika.languages import LANGUAGES, find_language

if TYPE_CHECKING:
    from lipika.jobs.export import ExportOrder

FORMATS = {
    "nemo": "NeMo, tarred: tars and manifests, a tarset for each language and split, and input_cfg.yaml.",
    "shar": "Lhotse Shar: cuts and recordings, with indexes in a folder of their own.",
    "parquet": "Parquet as Hugging Face and NeMo read it, in the folders that the hub wants.",
    "webdataset": "WebDataset: tars of FLAC and JSON.",
    "kaldi": "Kaldi and ESPnet: wav.scp, text, utt2spk and the rest, sorted, with audio files beside.",
    "ljspeech": "LJSpeech: wavs/ and metadata.csv. Decodes.",
    "f5": "F5-TTS and IndicF5: wavs/ and metadata.csv. Decodes.",
}
"""Format -> the first sentence of its help."""

_TTS = ("ljspeech", "f5")


class LaneChoice(StrEnum):
    """The lane that must be open."""

    ASR = "asr"
    TTS_CLEAN = "tts_clean"
    TTS_EXPRESSIVE = "tts_expressive"
    ANY = "any"


class ViewChoice(StrEnum):
    """The text that is trained on."""

    VERBATIM = "verbatim"
    PLAIN = "plain"
    NATIVE = "native"
    TAGGED = "tagged"


class LatinChoice(StrEnum):
    """The policy for Latin words in the view `native`."""

    KEEP = "keep"
    TRANSLITERATE = "transliterate"
    DROP = "drop"


class FormatChoice(StrEnum):
    """The format."""

    NEMO = "nemo"
    SHAR = "shar"
    PARQUET = "parquet"
    WEBDATASET = "webdataset"
    KALDI = "kaldi"
    LJSPEECH = "ljspeech"
    F5 = "f5"


class EngineChoice(StrEnum):
    """The place where jobs are done."""

    LOCAL = "local"
    RAY = "ray"


class SeveralLanguages(TyperCommand):
    """A command whose `--language hi ta` means both."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As given, with `--language` before each language."""
        return super().parse_args(ctx, _spell_out(args))


def _spell_out(args: Iterable[str]) -> list[str]:
    spelt: list[str] = []
    more = False  # languages may follow
    for arg in args:
        if more and spelt[-1] != "--language" and find_language(arg) is not None:
            spelt += ["--language", arg]
            continue
        more = arg == "--language" or (more and spelt[-1] == "--language")
        spelt.append(arg)
    return spelt


def add_to(app: typer.Typer, run: Run) -> None:
    """Put the group on `app`; `run` is the command line's own."""
    group = typer.Typer(
        name="export",
        help="Datasets that trainers read, of finished results: plan, write, verify.\n\n"
        "Example: lipika export nemo my-dataset --from demo-out --split train=.9,dev=.1",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(group, name="export")
    _add_plan(group, run)
    for name, told in FORMATS.items():
        _add_format(group, run, name, told)
    _add_verify(group, run)


_FROM = "Result tars, or folders and prefixes of them. Default: the rows of the database."


def _add_plan(group: typer.Typer, run: Run) -> None:
    def plan(**given: Any) -> None:
        """Say what there would be: hours per language and split, what is dropped and why, bytes. Writes nothing.

        Example: lipika export plan --lane asr --min-score 0.8
        """
        from lipika.jobs.export import plan_export
        from lipika.jobs.export_words import print_plan

        as_json, chosen = given.pop("as_json"), given.pop("format_").value
        done = run(lambda: plan_export(_order(chosen, given)))
        if as_json:
            print_json(done.document())
        else:
            print_plan(done, open_console())
        if done.noticed.problems:
            raise typer.Exit(1)

    _give_options(
        plan,
        {"format_": (FormatChoice, FormatChoice.NEMO, typer.Option("--format", help="For which format."))},
    )
    group.command(cls=SeveralLanguages)(plan)


def _add_format(group: typer.Typer, run: Run, name: str, told: str) -> None:
    def write(dest: str, **given: Any) -> None:
        from lipika.jobs.export import export
        from lipika.jobs.export_words import print_export

        as_json = given.pop("as_json")
        done = run(lambda: export(_order(name, given), dest))
        if as_json:
            print_json(done.document())
        else:
            print_export(done, open_console())
        if done.noticed.problems:
            raise typer.Exit(1)

    write.__doc__ = (
        f"{told}\n\nWhat was stopped goes on where it was when the same command is run again.\n\n"
        f"Example: lipika export {name} my-dataset --from demo-out --split train=.9,dev=.1"
    )
    dest = (
        str,
        ...,
        typer.Argument(metavar="DEST", help="A new folder, or s3://bucket/prefix.", show_default=False),
    )
    _give_options(write, {"dest": dest})
    group.command(name, cls=SeveralLanguages)(write)


def _add_verify(group: typer.Typer, run: Run) -> None:
    @group.command()
    def verify(
        dest: Annotated[str, typer.Argument(metavar="DEST", help="A folder, or s3://bucket/prefix.")],
        format_: Annotated[
            FormatChoice | None, typer.Option("--format", help="Default: what it looks like.")
        ] = None,
        jobs: Annotated[
            int | None, typer.Option(min=1, help="Processes. Default: one for each core.")
        ] = None,
        listen: Annotated[
            bool, typer.Option("--listen/--no-listen", help="Decode all audio, or read its headers only.")
        ] = True,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Read an export again, anybody's, and name what is wrong with it, by file and line.

        Exit code 1 if there is anything.

        Example: lipika export verify my-dataset
        """
        from lipika.jobs.export_check import print_verified, verify_export

        report = run(
            lambda: verify_export(dest, format_.value if format_ else None, jobs, data_dir, listen=listen)
        )
        if as_json:
            print_json(report.document())
        else:
            print_verified(report, open_console())
        if not report.is_sound:
            raise typer.Exit(1)


_OPTIONS: dict[str, tuple[Any, Any, Any]] = {
    "sources": (list[str] | None, None, typer.Option("--from", help=_FROM)),
    "lane": (LaneChoice | None, None, typer.Option(help="Must be open. Default: asr, or tts_clean for TTS.")),
    "language": (list[str] | None, None, typer.Option(help="Only these languages: hi ta ...")),
    "by_hint": (bool, False, typer.Option("--by-hint", help="Languages by the list, not as heard.")),
    "min_score": (float, 0.0, typer.Option(min=0, max=1, help="The least quality score.")),
    "min_seconds": (float, 0.0, typer.Option(min=0, help="The shortest clip.")),
    "max_seconds": (float, 3600.0, typer.Option(min=0, help="The longest clip.")),
    "min_snr": (float | None, None, typer.Option(help="The least SNR, dB (a proxy: see docs/your-data.md).")),
    "with_finding": (list[str] | None, None, typer.Option(help="Only clips with this finding; may be repeated.")),
    "without_finding": (list[str] | None, None, typer.Option(help="No clip with this finding; may be repeated.")),
    "tier": (list[str] | None, None, typer.Option(help="Only this tier: gold, silver, bronze; may be repeated.")),
    "speaker": (list[str] | None, None, typer.Option(help="Only this speaker; may be repeated.")),
    "videos": (Path | None, None, typer.Option(help="Only these: a line each, or a table.")),
    "columns": (Path | None, None, typer.Option(help="More columns by video_id: channel_id, speaker, ...")),
    "model": (list[str] | None, None, typer.Option(help="Only answers of this model or version; may be repeated.")),
    "prompt": (list[str] | None, None, typer.Option(help="Only of this prompt version; may be repeated.")),
    "provider": (list[str] | None, None, typer.Option(help="Only of this provider; may be repeated.")),
    "text_source": (list[str] | None, None, typer.Option(help="model, person or reference; may be repeated.")),
    "where": (str, "", typer.Option(help="A condition in SQL over the columns in docs/datasets.md.")),
    "everything": (bool, False, typer.Option("--all", help="Every clip; with --skipme.")),
    "skipme": (bool, False, typer.Option("--skipme", help="Mark for NeMo what would be dropped.")),
    "view": (ViewChoice, ViewChoice.VERBATIM, typer.Option(help="The text to train on: docs/datasets.md.")),
    "latin": (LatinChoice, LatinChoice.KEEP, typer.Option(help="Latin words in the view native.")),
    "vocabulary": (Path | None, None, typer.Option(help="A model's tokens: clips with other letters are dropped.")),
    "split": (str, "train", typer.Option(help="Shares, such as train=.98,dev=.02; theirs: the source's.")),
    "seed": (str, "0", typer.Option(help="Decides splits and shards; the same one gives the same.")),
    "group_by": (str, "", typer.Option(help="A column whose values are never split, besides the video.")),
    "splits_of": (Path | None, None, typer.Option(help="An earlier export, whose videos keep their splits.")),
    "max_same_text": (int, 0, typer.Option(min=0, help="A sentence at most so often in a split.")),
    "keep_duplicates": (bool, False, typer.Option("--keep-duplicates", help="Audio may come twice.")),
    "clips_per_shard": (int | None, None, typer.Option(min=1, help="Clips of a shard. Default: by format.")),
    "wav": (bool, False, typer.Option("--wav", help="WAV instead of FLAC: 16 bits, decoded.")),
    "sample_rate": (int, 0, typer.Option(min=0, max=192_000, help="Resample to this rate, Hz; takes --wav.")),
    "audio_root": (str, "", typer.Option(help="Kaldi: put before the paths of audio. Default: the folder itself.")),
    "title": (str, "", typer.Option(help="The name on the card. Default: the folder's.")),
    "licence": (str, "", typer.Option("--licence", "--license", help="On the card, such as cc-by-4.0.")),
    "again": (bool, False, typer.Option("--again", help="Replace an export that is there.")),
    "engine": (EngineChoice, EngineChoice.LOCAL, typer.Option(help="Processes here, or the same jobs on Ray.")),
    "actors": (int, 2, typer.Option(min=1, help="Jobs at a time on Ray.")),
    "address": (str, "", typer.Option(help="A running Ray cluster. Default: Ray on this machine alone.")),
    "jobs": (int | None, None, typer.Option(min=1, help="Processes. Default: one for each core.")),
    "memory": (str, "2GB", typer.Option(help="What planning may take before it goes to disk.")),
    "data_dir": (Path | None, None, typer.Option(help="Folder of the embedded Postgres.")),
    "as_json": (bool, False, typer.Option("--json", help="One JSON object on stdout.", callback=note_json)),
}  # fmt: skip
"""Every option of plan and formats: its type, its default, and how it is shown."""


def _give_options(command: Any, first: dict[str, tuple[Any, Any, Any]]) -> None:
    """Give a command that takes keywords the options above, as Typer reads them."""
    import inspect

    parameters = []
    for name, (kind, default, shown) in {**first, **_OPTIONS}.items():
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if default is ... else default,
                annotation=Annotated[kind, shown],
            )
        )
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {one.name: one.annotation for one in parameters}


def _order(name: str, given: dict[str, Any]) -> ExportOrder:
    from lipika.jobs.export_order import read_order

    if given["everything"] != given["skipme"]:
        raise UsageError(
            "--all and --skipme go together: every clip is carried, and what would be dropped is marked"
        )
    if given["skipme"] and name != "nemo":
        raise UsageError("--skipme is NeMo's: no other reader heeds it")
    if given["sample_rate"] and not (given["wav"] or name in _TTS):
        raise UsageError("--sample-rate takes --wav: FLAC is copied as it is")
    lane = given["lane"].value if given["lane"] else ("tts_clean" if name in _TTS else "asr")
    given["language"] = tuple(dict.fromkeys(_codes(given["language"] or ())))
    return read_order(name, "" if lane == "any" else lane, given)


def _codes(names: Iterable[str]) -> Iterable[str]:
    for name in (part for given in names for part in given.split(",") if part):
        language = find_language(name)
        if language is None:
            raise UsageError(f"--language {name}: not one of {', '.join(LANGUAGES)}")
        yield language.code
