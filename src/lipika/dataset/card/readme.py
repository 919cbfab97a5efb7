"""README.md of an export: what is in it, how good it is, how it came to be, how to load it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lipika.dataset.card.front_matter import front_matter
from lipika.dataset.card.loading import lines_to_load
from lipika.dataset.card.words import markdown, name_language, name_range, name_unknown, show_hours, table
from lipika.dataset.summary import SCORE_RANGES, CorpusAudit, ExportSummary
from lipika.wording import duration, most_first, number, percent

_LANES = {
    "asr": "recognition: what is said is in the text, and nothing else",
    "tts_clean": "synthesis: clean, whole sentences of one speaker",
    "tts_expressive": "synthesis: the same, with laughs, sighs and the like",
}

_JUDGED = """Every transcript was checked against its clip as it came in, by rules, with these results:

- **findings**: codes for what is doubtful about a clip, such as `overlap_timeline` (somebody else speaks meanwhile);
- **lanes**: what a clip may be used for; a lane is open unless a finding closes it{lanes};
- **quality score**, 0 to 1: every finding lowers it. It orders clips; it is no probability;
- **tier**: how far other recognisers that heard the clip agree (gold, silver, bronze), where any did.

No finding is a proof, and a clip without one may be wrong all the same.
"""

_LIMITS = """- Machines wrote the transcripts, but for those counted as `person` or `reference`: **they hold
  mistakes**. Names, numbers, dialects and words in another language suffer most.
- Audio models sometimes write fluent sentences that nobody said. Checks find many of these, not all.
- Models change: what several versions wrote (see above) differs in spelling and in punctuation.
- Emotion, style, pace and accent are a model's impressions.
- Nobody was asked about gender, age or origin, and nothing here balances them.
"""


def readme(summary: ExportSummary, configs: Sequence[Mapping[str, Any]], form: str) -> str:
    """The card in Markdown, with the hub's front matter. `form` is the ending of the audio's files."""
    return front_matter(summary, configs) + "\n" + "\n".join(_body(summary, form))


def _body(summary: ExportSummary, form: str) -> Iterator[str]:
    yield f"# {markdown(summary.title) or 'Untitled'}\n"
    yield from _beginning(summary)
    yield "## Contents\n"
    yield from _contents(summary)
    yield "## Lanes, scores, lengths\n"
    yield from _quality(summary)
    yield "## How to load it\n"
    yield lines_to_load(summary.format, markdown(summary.reader), _places(summary, form))
    yield "## How it was made\n"
    yield from _making(summary)
    yield "## What was left out, and why\n"
    yield from _left_out(summary)
    yield "## How it was judged\n"
    yield _JUDGED.format(lanes=_lanes_in_words(summary))
    if summary.audit is not None:
        yield "## How good it is, by ear\n"
        yield from _heard_by_people(summary, summary.audit)
    yield "## Splits and speakers\n"
    yield from _splits(summary)
    yield "## Known limits\n"
    yield _LIMITS
    yield "## Licence\n"
    yield _licence(summary)
    yield "## Files\n"
    yield (
        "`dataset.json` holds every figure of this card and the options of the export; `croissant.json` describes"
        " the files for programs; `SHA256SUMS` has their checksums (`sha256sum -c SHA256SUMS`)."
    )
    yield ""


def _beginning(summary: ExportSummary) -> Iterator[str]:
    if summary.made_up:
        yield (
            f"> **SIMULATED: a simulator made up the text of {summary.made_up:,} of {summary.exported:,} clips. It is"
            " not what was said; train on nothing of this.**\n"
        )
    languages = ", ".join(name_language(code) for code in summary.languages) or "no language"
    yield (
        f"{summary.exported:,} clips, {show_hours(summary.seconds)} hours of speech in {markdown(languages)}, for"
        f" {markdown(summary.reader)}. Transcribed by audio models, checked by rules; made with lipika"
        f" {markdown(summary.code_version)}.\n"
    )
    if summary.exported:
        yield (
            "Listen first: [samples.html](samples.html) plays a few clips of every language beside their text. Open"
            " it from disk, with the folder `card/` beside it.\n"
        )


# ----------------------------------------------------------------------------- what is in it


def _contents(summary: ExportSummary) -> Iterator[str]:
    if not summary.exported:
        yield "Nothing: no clip passed the selection.\n"
        return
    yield "Hours, and clips in brackets:\n"
    rows = [
        (
            _language(code),
            *(_sum(summary, code, split) for split in summary.splits),
            _sum(summary, code),
        )
        for code in summary.languages
    ]
    whole = ("**all**", *(_sum(summary, split=split) for split in summary.splits), _sum(summary))
    yield table(("language", *map(markdown, summary.splits), "all"), [*rows, whole])
    yield "![Hours of each language and split](card/hours.svg)\n"


def _language(code: str) -> str:
    return f"{markdown(name_language(code))} ({markdown(name_unknown(code))})"


def _sum(summary: ExportSummary, language: str | None = None, split: str | None = None) -> str:
    found = [
        one
        for one in summary.tarsets
        if one.language == (language if language is not None else one.language)
        and one.split == (split if split is not None else one.split)
    ]
    clips = sum(one.clips for one in found)
    return f"{show_hours(sum(one.seconds for one in found))} ({clips:,})" if clips else "–"


def _quality(summary: ExportSummary) -> Iterator[str]:
    lanes = summary.open_lanes
    if lanes:
        yield "Hours of the clips that are open for a lane:\n"
        yield table(
            ("language", *map(markdown, lanes)),
            [
                (_language(code), *(_lane(summary, code, lane) for lane in lanes))
                for code in summary.languages
            ],
        )
        yield "![Hours of each language and lane](card/lanes.svg)\n"
    used = [
        place for place in range(SCORE_RANGES) if any(_clips(summary, code, place) for code in summary.scores)
    ]
    if used:
        yield "Clips by quality score:\n"
        yield table(
            ("language", *(name_range(place, SCORE_RANGES) for place in used)),
            [
                (_language(code), *(f"{_clips(summary, code, place):,}" for place in used))
                for code in sorted(summary.scores)
            ],
        )
        yield "![Clips of each language by quality score](card/scores.svg)\n"
    if summary.exported:
        middle = _middle_second(summary.durations)
        yield f"Half of the clips are shorter than {middle + 1} s.\n"
        yield "![Clips by length](card/durations.svg)\n"


def _lane(summary: ExportSummary, language: str, lane: str) -> str:
    amount = summary.lanes.get(language, {}).get(lane)
    return show_hours(amount.seconds) if amount else "–"


def _clips(summary: ExportSummary, language: str, place: int) -> int:
    scores = summary.scores.get(language, ())
    return scores[place] if place < len(scores) else 0


def _middle_second(durations: Sequence[int]) -> int:
    """The second within which the median lies."""
    half, passed = sum(durations) / 2, 0
    for second, clips in enumerate(durations):
        passed += clips
        if passed >= half:
            return second
    return 0


def _places(summary: ExportSummary, form: str) -> dict[str, str]:
    first = min(
        summary.tarsets, key=lambda one: (one.split != "train", one.language, one.split), default=None
    )
    language, split = (first.language, first.split) if first else ("hi", "train")
    return {
        "language": language,
        "split": split,
        "tarset": f"{language}/{split}",
        "form": form,
        "input_cfg": "input_cfg.yaml" if split == "train" else f"input_cfg_{split}.yaml",
    }


# ----------------------------------------------------------------------------- how it came to be


def _making(summary: ExportSummary) -> Iterator[str]:
    if summary.source:
        yield f"From {markdown(summary.source)}.\n"
    if summary.data_up_to:
        yield f"The newest transcript is of {markdown(summary.data_up_to)}.\n"
    rows = [
        (title, markdown(name_unknown(name)), f"{clips:,}")
        for title, counts in (
            ("model", summary.models),
            ("provider", summary.providers),
            ("prompt, version", summary.prompts),
            ("validator, version", summary.validators),
            ("text is of", summary.text_sources),
            ("tier", summary.tiers),
        )
        for name, clips in most_first(counts)
    ]
    if rows:
        yield table(("what", "which", "clips"), rows, texts=2)
    changed = most_first({name: clips for name, clips in summary.text_changes.items() if clips})
    if changed:
        what = ", ".join(f"{markdown(name)} in {clips:,}" for name, clips in changed)
        yield f"The text view changed clips: {what}. `verbatim`, where a format has it, is the text before that.\n"
    else:
        yield "The text is as it was transcribed: the view changed nothing.\n"
    options = [(markdown(name), markdown(value)) for name, value in sorted(summary.options.items()) if value]
    if options:
        yield "Options of the export:\n"
        yield table(("option", "as given"), options, texts=2)
    yield from (f"- {markdown(note)}" for note in summary.notes)
    if summary.notes:
        yield ""


def _left_out(summary: ExportSummary) -> Iterator[str]:
    dropped = sum(summary.dropped.values())
    yield (
        f"{summary.candidates:,} candidates = {summary.exported:,} exported + {dropped:,} dropped; lipika refuses to"
        " write a card where this does not hold.\n"
    )
    if dropped:
        yield table(
            ("reason", "clips", "of all"),
            [
                (markdown(name_unknown(reason)), f"{clips:,}", percent(clips / summary.candidates))
                for reason, clips in most_first(summary.dropped)
                if clips
            ],
        )


def _heard_by_people(summary: ExportSummary, audit: CorpusAudit) -> Iterator[str]:
    of = f"open for `{audit.lane}` " if audit.lane else ""
    yield (
        f"People heard clips {of}of the corpus that this was chosen from, drawn by chance on {audit.drawn_on} (audit"
        f" {audit.number}). CER is letters to be changed over letters that are said, without case and punctuation;"
        " in brackets 95 % intervals. The figures are the corpus's, not those of this selection alone.\n"
    )
    rows = [
        (
            _language(one.language),
            f"{one.heard:,}",
            f"{percent(one.cer)} ({percent(one.cer_low)} to {percent(one.cer_high)})",
            f"{percent(one.unusable)} ({percent(one.unusable_low)} to {percent(one.unusable_high)})",
            "; ".join(filter(None, (one.cer_verdict, one.unusable_verdict))),
        )
        for one in audit.languages
        if one.language in summary.languages
    ]
    yield table(("language", "heard", "CER", "unusable", "verdicts: CER; unusable"), rows)
    known = {one.language for one in audit.languages}
    if missing := [name_language(code) for code in summary.languages if code not in known]:
        yield f"Nobody has heard clips of {markdown(', '.join(missing))}.\n"
    if audit.agreement_cer is not None:
        apart = percent(audit.agreement_cer)
        yield f"Where two people heard the same clip, their texts differ in {apart} of the letters.\n"


def _lanes_in_words(summary: ExportSummary) -> str:
    known = [f"`{lane}` for {_LANES[lane]}" for lane in summary.open_lanes if lane in _LANES]
    return f" ({'; '.join(known)})" if known else ""


def _splits(summary: ExportSummary) -> Iterator[str]:
    group = summary.options.get("group_by", "")
    together = f"clips of one {markdown(group)}" if group else "clips of one recording"
    if summary.options.get("splits") == "theirs 1.0":
        yield "Splits are those of the source: nothing was moved between them.\n"
    elif len(summary.splits) > 1:
        yield (
            f"Which split a clip is in is drawn from the seed by group: {together} are never in two splits. Texts of"
            " dev and test that train has, too, are left out of dev and test.\n"
        )
    else:
        yield "There is one split: nothing was set apart for tests.\n"
    found = {code: one for code, one in summary.speakers.items() if one.speakers}
    if found:
        yield "Speakers, as far as recordings tell them apart, and the audio that each has:\n"
        yield table(
            (
                "language",
                "speakers",
                "least",
                "a quarter below",
                "half below",
                "three quarters below",
                "most",
            ),
            [
                (_language(code), number(one.speakers), *map(duration, one.seconds))
                for code, one in sorted(found.items())
            ],
        )


def _licence(summary: ExportSummary) -> str:
    if summary.licence:
        return f"{markdown(summary.licence)}, as stated by those who made this export.\n"
    return (
        "None was stated. Recordings and what is said in them may belong to others; ask before you publish or train."
        "\n"
    )
