"""The card of an export: Markdown for the hub, charts, Croissant metadata, and samples to listen to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lipika.dataset.card.croissant import croissant
from lipika.dataset.card.front_matter import hub_configs
from lipika.dataset.card.page import Sample, page, within_reason
from lipika.dataset.card.plots import plots
from lipika.dataset.card.readme import readme
from lipika.dataset.model import FileFact
from lipika.dataset.summary import ExportSummary

__all__ = ["Sample", "card_files"]


def card_files(
    summary: ExportSummary, samples: Sequence[Sample], files: Sequence[FileFact]
) -> Iterator[tuple[str, bytes]]:
    """(path, content) of everything that describes an export; the same arguments give the same bytes.

    `files` are those of the shards and over all of them.
    """
    shown = within_reason(samples)
    form = shown[0].ending if shown else summary.options.get("form", "flac")
    yield "README.md", readme(summary, hub_configs(summary.format, summary.tarsets), form).encode()
    yield "dataset.json", summary.encode()
    yield "croissant.json", croissant(summary, files)
    for path, drawing in plots(summary):
        yield path, drawing.encode()
    if summary.exported:
        yield "samples.html", page(summary, shown).encode()
    for sample in shown:
        yield sample.path, sample.audio
