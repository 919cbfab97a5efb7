"""`croissant.json`: an export in MLCommons' Croissant 1.0, JSON-LD that data set programs read. Pure.

Rows of Parquet and of JSON lines are described by patterns of paths; tars one by one with their checksums, since a
clip's audio lies within them. JSON within a tar is read by no Croissant reader: WebDataset has ids and audio. Of
formats with a file for each clip, or with lists of their own (Kaldi, LJSpeech), it is the files that are described.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from lipika.dataset.card.words import name_language, plain
from lipika.dataset.model import FileFact
from lipika.dataset.summary import ExportSummary

Node = dict[str, Any]

CLIPS = "clips"
"""The record set: one record for each clip."""

_VERSION = "http://mlcommons.org/croissant/1.0"
_PREFIXED = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet",
    "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField",
    "transform",
)  # fmt: skip
_SPECIAL: Mapping[str, object] = {
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
_CONTEXT: Mapping[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{name: f"cr:{name}" for name in _PREFIXED},
    **_SPECIAL,
}
_TEXT, _FLOAT, _WHOLE, _AUDIO = "sc:Text", "sc:Float", "sc:Integer", "sc:AudioObject"
_TAR, _PARQUET, _LINES = "application/x-tar", "application/x-parquet", "application/jsonlines"
_STEM = r"^(.*?)(?:\.[^.]+)?$"  # readers apply it twice
_SOUNDS = {".flac": "audio/flac", ".wav": "audio/wav", ".mp3": "audio/mpeg"}

_FIELDS: Mapping[str, tuple[str, str]] = {
    "id": (_TEXT, "Name of the clip, unique in the export"),
    "file": (_TEXT, "Name of the clip's file in its tar"),
    "text": (_TEXT, "What is said, as the text view of the export has it: what is trained on"),
    "verbatim": (_TEXT, "What is said, as it was transcribed"),
    "lang": (_TEXT, "Language, ISO 639-1"),
    "duration": (_FLOAT, "Length in seconds"),
    "speaker_id": (_TEXT, "Speaker, as far as recordings tell them apart"),
    "speaker": (_TEXT, "Speaker, as far as recordings tell them apart"),
    "quality_score": (_FLOAT, "0 to 1; it orders clips and is no probability"),
    "lanes": (_TEXT, "Open lanes, separated by spaces"),
    "findings": (_TEXT, "Codes of what is doubtful, separated by spaces"),
    "tier": (_TEXT, "How far recognisers agree: gold, silver, bronze"),
    "sampling_rate": (_WHOLE, "Samples a second"),
    "model": (_TEXT, "The version of the model that transcribed it"),
}
_PARQUET_COLUMNS = (
    "id", "text", "verbatim", "lang", "duration", "speaker_id", "quality_score", "lanes", "findings", "tier", "model",
)  # fmt: skip
_MANIFEST_COLUMNS = ("text", "verbatim", "lang", "duration", "speaker", "quality_score")


def croissant(summary: ExportSummary, files: Sequence[FileFact]) -> bytes:
    """The document; keys in a fixed order, no time of day. `files` are those of the shards and over all of them."""
    distribution, fields = _describe(files)
    document: Node = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _VERSION,
        "name": plain(summary.title) or "Untitled",
        "description": _description(summary),
        "version": "1.0.0",
        "inLanguage": list(summary.languages),
        "keywords": ["speech", "transcripts", *map(name_language, summary.languages)],
        "license": plain(summary.licence) or "Not stated: ask those who made it.",
        "citeAs": f"{plain(summary.title) or 'Untitled'}; made with lipika {plain(summary.code_version)}",
        **({"datePublished": summary.data_up_to[:10]} if _is_date(summary.data_up_to) else {}),
        "rai:dataAnnotationProtocol": "Transcribed by audio models; every answer checked by rules; see README.md.",
        "rai:machineAnnotationTools": [plain(name) for name in sorted(summary.models) if plain(name)],
        "rai:dataLimitations": "Machine transcripts: they hold mistakes.",
        "distribution": distribution,
    }
    if fields:
        document["recordSet"] = [
            {
                "@type": "cr:RecordSet",
                "@id": CLIPS,
                "name": CLIPS,
                "description": "Clips of speech, one a record.",
                "key": {"@id": f"{CLIPS}/id"},
                "field": fields,
            }
        ]
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _description(summary: ExportSummary) -> str:
    made_up = " SIMULATED: text was made up by a simulator." if summary.made_up else ""
    languages = ", ".join(map(name_language, summary.languages))
    return (
        f"{summary.exported:,} clips, {summary.hours:,.1f} hours of speech in {languages or 'no language'},"
        f" transcribed by audio models and checked by rules.{made_up}"
    )


def _is_date(time: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\d", time) is not None


# ----------------------------------------------------------------------------- files


def _describe(files: Sequence[FileFact]) -> tuple[list[Node], list[Node]]:
    """The distribution, and the fields of a clip, by the kinds of files there are."""
    paths = sorted(file.path for file in files)
    tables = [path for path in paths if path.endswith(".parquet") and "/" in path]
    if tables:
        return [_file_set("rows", _patterns(tables), _PARQUET)], _parquet_fields()
    tars = sorted((file for file in files if file.path.endswith(".tar")), key=lambda file: file.path)
    if tars:
        return _describe_tars(tars, paths)
    sounds = [path for path in paths if _ending(path) in _SOUNDS]
    rest = [file for file in files if _ending(file.path) not in _SOUNDS]
    distribution = [_file_object(file) for file in sorted(rest, key=lambda file: file.path)]
    if sounds:
        folders = {f"{path.rpartition('/')[0]}/*{_ending(path)}" for path in sounds}
        distribution.append(_file_set("audio", _patterns(folders), _SOUNDS[_ending(sounds[0])]))
    return distribution, []


def _describe_tars(tars: Sequence[FileFact], paths: Sequence[str]) -> tuple[list[Node], list[Node]]:
    """Tars one by one, the audio in them, and the rows beside them where those are lines of JSON."""
    distribution = [_file_object(file) for file in tars]
    audio = _file_set("audio", [f"*{ending}" for ending in _SOUNDS], "audio/flac")
    audio["containedIn"] = [{"@id": file.path} for file in tars]
    distribution.append(audio)
    manifests = [path for path in paths if re.search(r"(^|/)manifest[^/]*_\d+\.json$", path)]
    cuts = [path for path in paths if re.search(r"(^|/)cuts\.\d+\.jsonl$", path)]
    if manifests:
        distribution.append(_file_set("rows", _patterns(manifests), _LINES))
        rows = [_field(name, _column(name)) for name in _MANIFEST_COLUMNS]
        return distribution, _joined_fields("audio_filepath", "", rows)
    if cuts:
        distribution.append(_file_set("rows", _patterns(cuts), _LINES))
        text = _field("text", _column("supervisions", jsonPath="text")) | {"repeated": True}
        return distribution, _joined_fields("id", _STEM, [text, _field("duration", _column("duration"))])
    return distribution, _audio_fields()


def _patterns(paths: Iterable[str]) -> list[str]:
    """The paths with any numbers in place of theirs."""
    return sorted({re.sub(r"\d+", "*", path) for path in paths})


def _ending(path: str) -> str:
    return path[path.rfind(".") :] if "." in path else ""


def _file_object(file: FileFact) -> Node:
    ending = _ending(file.path)
    kinds = {".tar": _TAR, ".csv": "text/csv", ".json": "application/json", ".jsonl": _LINES} | _SOUNDS
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.size} B",
        "encodingFormat": kinds.get(ending, "text/plain"),
        "sha256": file.sha256,
    }


def _file_set(name: str, includes: Sequence[str], kind: str) -> Node:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "encodingFormat": kind,
        "includes": list(includes),
    }


# ----------------------------------------------------------------------------- fields


def _field(name: str, source: Node, *, kind: str = "", means: str = "") -> Node:
    known_kind, known_meaning = _FIELDS.get(name, (_TEXT, ""))
    return {
        "@type": "cr:Field",
        "@id": f"{CLIPS}/{name}",
        "name": name,
        "description": means or known_meaning,
        "dataType": kind or known_kind,
        "source": source,
    }


def _column(name: str, **transform: str) -> Node:
    source: Node = {"fileSet": {"@id": "rows"}, "extract": {"column": name}}
    return source | ({"transform": transform} if transform else {})


def _property(name: str, **transform: str) -> Node:
    source: Node = {"fileSet": {"@id": "audio"}, "extract": {"fileProperty": name}}
    return source | ({"transform": transform} if transform else {})


def _audio(source: Node) -> Node:
    return _field("audio", source, kind=_AUDIO, means="The clip's file")


def _parquet_fields() -> list[Node]:
    return [
        *(_field(name, _column(name)) for name in _PARQUET_COLUMNS),
        _audio(_column("audio", jsonPath="bytes")),
    ]


def _audio_fields() -> list[Node]:
    return [_field("id", _property("filename", regex=_STEM)), _audio(_property("content"))]


def _joined_fields(key: str, regex: str, rows: Sequence[Node]) -> list[Node]:
    """Audio in tars, joined by its name with the rows that lie beside the tars."""
    name = _field("file", _property("filename", **({"regex": regex} if regex else {})))
    name["references"] = {"fileSet": {"@id": "rows"}, "extract": {"column": key}}
    return [name, _field("id", _column("id")), *rows, _audio(_property("content"))]
