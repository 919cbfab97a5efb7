"""IndicConformer's runner on stand-in bundles: front end, batches, masks, decoding, long audio, refusals."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks import standin
from lipika.alignment import frontend, torchscript
from lipika.alignment.bundle import PIECES, TORCHSCRIPT, download, open_bundle
from lipika.alignment.chunks import LONGEST_S, parts_of
from lipika.alignment.ctc import Ear, greedy_text
from lipika.alignment.frontend import RATE_HZ, Variant, log_mel
from lipika.alignment.indicconformer import IndicConformer, Speech
from lipika.audio.codec import decode, resample_for_model
from lipika.errors import UsageError
from lipika.languages import FIRST_CLASS
from lipika.validation.text import normalise
from places import ROOT

FIXTURE = ROOT / "tests" / "kits" / "fixtures" / "front_end.npz"
SENTENCES = ROOT / "src" / "lipika" / "simulator" / "sentences"


# ----------------------------------------------------------------------------- the front end


@pytest.mark.parametrize(
    ("title", "variant"),
    [("plain", Variant()), ("reflect_partial", Variant(reflect=True, partial_frame=True))],
)
@pytest.mark.parametrize("language", ["hi", "ta", "ur"])
def test_the_front_end_gives_what_torch_gave_on_speech(language: str, title: str, variant: Variant) -> None:
    """`scripts/record_front_end.py` recorded NeMo's arithmetic in torch, with librosa's filters."""
    recorded = np.load(FIXTURE)
    key = next(key for key in recorded if key.startswith(f"{language}:") and key.endswith(f":{title}"))
    with tarfile.open(ROOT / "samples" / "tars" / f"{language}_sample.tar") as archive:
        member = archive.extractfile(key.split(":")[1])
        assert member is not None
        samples = resample_for_model(decode(member.read())).samples
    features = log_mel(np.asarray(samples, np.int16), variant)
    assert features.shape[1] == len(samples) // 160 + variant.partial_frame
    assert torchscript.difference(features[:, ::7], recorded[key]) < torchscript.NEAR


def test_the_variants_differ_at_the_edges_and_not_where_these_are_silent() -> None:
    samples = np.random.default_rng(0).normal(0, 3000, RATE_HZ).astype(np.int16)
    reflect = Variant(reflect=True)
    assert torchscript.difference(log_mel(samples), log_mel(samples, reflect)) > 0.1
    padded = np.pad(samples, 2400)
    assert np.array_equal(log_mel(padded), log_mel(padded, reflect))


@pytest.mark.parametrize("samples", [1, 100, 256, 257, 400])
def test_the_shortest_audio_has_features(samples: int) -> None:
    features = log_mel(np.full(samples, 500, np.int16), Variant(reflect=True))
    assert features.shape == (80, max(samples // 160, 1))
    assert np.isfinite(features).all()


def test_without_torch_the_front_end_says_that_it_was_not_compared(tmp_path: Path) -> None:
    chosen = torchscript.choose(tmp_path / "preprocessor.ts")
    assert chosen.features is frontend.log_mel
    assert "not compared" in chosen.known


# ----------------------------------------------------------------------------- bundles


@pytest.fixture(scope="module")
def whistled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standin.write_whistle_bundle(tmp_path_factory.mktemp("whistled"))


@pytest.fixture(scope="module")
def runner(whistled: Path) -> IndicConformer:
    return IndicConformer(whistled, device="cpu", threads=2)


def test_the_stand_in_has_the_published_form(whistled: Path) -> None:
    bundle = open_bundle(whistled)
    assert len(bundle.languages) == 22
    assert {len(pieces) for pieces in bundle.pieces.values()} == {PIECES}
    masks = json.loads((whistled / "assets" / "language_masks.json").read_text())
    assert {len(mask) for mask in masks.values()} == {5633}
    assert {columns[-1] for columns in bundle.columns.values()} == {5632}
    assert (whistled / "model_onnx.py").exists()  # and nobody runs it: it would end the process


def test_two_bundles_are_told_apart(whistled: Path, tmp_path: Path) -> None:
    other = standin.write_conformer(tmp_path, standin.Size(1, 16, 2, 3, 8))
    assert open_bundle(whistled).digest != open_bundle(other).digest
    assert (other / "assets" / "encoder.weights").is_file()  # as the published one: blobs beside the graph


def test_another_script_for_the_front_end_is_another_bundle(whistled: Path, tmp_path: Path) -> None:
    """It is executed where torch is, so alignments made with it must not pass for those of another one."""
    shutil.copytree(whistled, tmp_path, dirs_exist_ok=True)
    script = tmp_path / "assets" / TORCHSCRIPT
    digests = set()
    for content in (b"one", b"two", b"two, and larger than what is hashed of weights" * 200_000):
        script.write_bytes(content)
        digests.add(open_bundle(tmp_path).digest)
    script.write_bytes(content[:-1] + b"!")
    assert len(digests | {open_bundle(tmp_path).digest}) == 4


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"assets/encoder\.onnx.*missing.*INDICCONFORMER_REVISION"):
        open_bundle(tmp_path)


def test_tables_of_another_form_are_refused(whistled: Path, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for file in (whistled / "assets").iterdir():
        (assets / file.name).write_bytes(file.read_bytes())
    vocabulary = json.loads((assets / "vocab.json").read_text("utf-8"))
    (assets / "vocab.json").write_text(json.dumps(vocabulary | {"hi": vocabulary["hi"][:-1]}), "utf-8")
    with pytest.raises(UsageError, match="hi has 255 pieces and 257 columns"):
        open_bundle(tmp_path)
    (assets / "vocab.json").write_text("[]")
    with pytest.raises(UsageError, match="cannot be read"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("revision", ["", "main", "0123abc"])
def test_only_a_commit_is_downloaded(revision: str) -> None:
    with pytest.raises(UsageError, match="40 hexadecimal digits"):
        download(revision, None)


def test_a_device_that_is_not_there_is_an_error(whistled: Path) -> None:
    with pytest.raises(UsageError, match="ALIGN_DEVICE"):
        IndicConformer(whistled, device="cuda")


# ----------------------------------------------------------------------------- hearing


@dataclass(frozen=True, slots=True)
class Whistled:
    speech: Speech
    text: str


def whistled_sentences(per_language: int, characters: int) -> Iterator[Whistled]:
    for code in FIRST_CLASS:
        lines = (SENTENCES / f"{code}.txt").read_text("utf-8").splitlines()
        for number, line in enumerate(lines[:per_language]):
            length = 4 + (number * 7 + len(code + line)) % (characters - 4)
            words = normalise(line)[:length]
            pieces = [standin.vocabulary(code)[piece] for piece in standin.spell(words, code)]
            said = " ".join("".join(pieces).replace("\u2581", " ").split())
            yield Whistled(Speech(standin.whistle(words, code, seed=number), code), said)


def test_whistled_sentences_of_twelve_languages_are_heard_to_the_character(runner: IndicConformer) -> None:
    sentences = list(whistled_sentences(4, 36))
    heard = runner.hear([sentence.speech for sentence in sentences])
    assert [one.text for one in heard] == [sentence.text for sentence in sentences]
    told = {
        sentence.speech.language: one.spoken_language
        for one, sentence in zip(heard, sentences, strict=True)
        if len(sentence.text) > 12
    }
    assert told == {
        code: "" if code == "ur" else code for code in FIRST_CLASS
    }  # Urdu by ear is Hindi, or nothing


def test_a_language_that_is_not_whistled_hears_nothing(runner: IndicConformer) -> None:
    speech = standin.whistle("मैं घर जा रहा हूँ और", "hi")
    (heard,) = runner.hear([Speech(speech, "bn")])
    assert (heard.text, heard.spoken_language) == ("", "hi")


def test_a_language_that_it_does_not_know_is_refused(runner: IndicConformer) -> None:
    with pytest.raises(ValueError, match="does not know en"):
        runner.hear([Speech(np.zeros(RATE_HZ, np.int16), "en")])


def test_nothing_is_heard_in_silence(runner: IndicConformer) -> None:
    (heard,) = runner.hear([Speech(np.zeros(RATE_HZ, np.int16), "hi")])
    assert (heard.text, heard.spoken_language) == ("", "")
    assert runner.hear([]) == []


def test_batched_and_one_by_one_are_the_same_on_200_clips(tmp_path: Path, runner: IndicConformer) -> None:
    """With attention over time, where padding could leak: the published architecture, small, with random weights."""
    conformer = IndicConformer(
        standin.write_conformer(tmp_path, standin.Size(2, 32, 4, 5, 8)), device="cpu", threads=2
    )
    random = np.random.default_rng(5)
    clips = [
        Speech(_noise(random, seconds), code)
        for seconds, code in zip(
            random.uniform(0.3, 2.5, 200),
            [list(standin.SCRIPTS)[number % 22] for number in range(200)],
            strict=True,
        )
    ]
    together = conformer.hear(clips)
    assert together == [conformer.hear([clip])[0] for clip in clips]
    assert len({heard.text for heard in together}) > 150
    mixed = [sentence.speech for sentence in whistled_sentences(2, 20)]
    assert runner.hear(mixed) == [runner.hear([clip])[0] for clip in mixed]


def _noise(random: np.random.Generator, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    samples = random.normal(0, 1500, int(seconds * RATE_HZ))
    samples *= 1 + np.sin(np.arange(len(samples)) / random.uniform(500, 4000))
    return samples.astype(np.int16)


# ----------------------------------------------------------------------------- decoding, long audio


def test_greedy_decoding_collapses_runs_and_keeps_repeats_apart() -> None:
    pieces = ("<unk>", "\u2581", "a", "\u2581b")
    columns = np.array([0, 1, 2, 3, *range(4, 4 + PIECES - 4), 256])
    frames = [3, 3, 256, 2, 2, 256, 2, 0, 1, 2]
    scores = np.full((len(frames), 257), -10.0, np.float32)
    scores[np.arange(len(frames)), frames] = 0.0
    assert greedy_text(scores, columns, pieces) == "baa a"
    assert greedy_text(scores[:0], columns, pieces) == ""


def test_a_close_call_names_no_language() -> None:
    columns = {"hi": np.array([0, 1, *[2] * 254, 3]), "mr": np.array([0, 1, *[2] * 254, 3])}
    scores = np.log(np.full((40, 4), 0.25, np.float32))
    scores[:, 1] = -0.1
    ear = Ear()
    ear.add(scores, columns)
    assert ear.guess_language() == ""
    del columns["mr"]
    sure = Ear()
    sure.add(scores, columns)
    assert sure.guess_language() == "hi"


def test_long_audio_is_cut_in_silence_and_heard_whole(runner: IndicConformer) -> None:
    text = "मैं कल शाम को बाजार गया था पर दुकान बंद थी और हम घर आ गए"
    samples = standin.whistle(text, "hi")
    parts = parts_of(samples)
    assert len(parts) == 2
    assert all(len(part) <= LONGEST_S * RATE_HZ for part in parts)
    assert np.array_equal(np.concatenate(parts), samples)
    assert np.abs(parts[1][:400].astype(float)).mean() < 600  # a gap between tones, not a tone
    (heard,) = runner.hear([Speech(samples, "hi")])
    assert heard.text.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("seconds", [0.5, 15.5, 15.6, 16.4, 31.5, 62.0])
def test_parts_are_never_too_long_nor_tiny(seconds: float) -> None:
    samples = _noise(np.random.default_rng(3), seconds)
    parts = parts_of(samples)
    assert sum(map(len, parts)) == len(samples)
    assert all(len(part) <= LONGEST_S * RATE_HZ for part in parts)
    assert len(parts) == 1 or min(map(len, parts)) >= RATE_HZ
