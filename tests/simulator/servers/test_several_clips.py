"""Several clips in one request over both wires: each is answered as it is alone; every planted fault is caught."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_kit import MODEL, Make, aistudio, both, openrouter
from lipika.languages import LANGUAGES
from lipika.llm import prompt
from lipika.llm.capabilities import load_capabilities
from lipika.llm.provider import SeveralClips, TranscriptionRequest, TranscriptionResponse
from lipika.llm.several import (
    AskedClip,
    ClipFault,
    SeveralAnswers,
    make_ids,
    read_several,
    several_prompt,
    several_schema,
    words_before,
)
from lipika.llm.transcript import read_answer
from lipika.models import Answer, AnswerForm, Failure, FailureKind
from lipika.simulator import FaultKind, FaultPlan, FaultRule, Latency, SimulatorConfig, running
from lipika.simulator.faults import OF_SEVERAL_CLIPS
from simulator_kit import flac

LENGTHS = (2.5, 4.0, 6.5, 9.5)
CLIPS = tuple(flac(seconds, seed=number) for number, seconds in enumerate(LENGTHS))
IDS = make_ids("test", len(CLIPS))
ASKED = [AskedClip(one, seconds) for one, seconds in zip(IDS, LENGTHS, strict=True)]
QUICK = SimulatorConfig(latency=Latency(0.0))


def together(form: AnswerForm = AnswerForm.FULL) -> TranscriptionRequest:
    return TranscriptionRequest(
        clip_id="v/1",
        video_id="v",
        language="hi",
        system_prompt=prompt.system_prompt("hi", form),
        clip_prompt=several_prompt(len(CLIPS), form),
        audio=b"",
        audio_ms=round(1000 * sum(LENGTHS)),
        max_output_tokens=8192,
        several=SeveralClips(several_schema(form), tuple(zip(map(words_before, IDS), CLIPS, strict=True))),
    )


def alone(number: int) -> TranscriptionRequest:
    return replace(
        together(),
        several=None,
        audio=CLIPS[number],
        clip_prompt=prompt.clip_prompt(4000),
        clip_id=f"v/{number}",
    )


async def ask(
    make: Make, request: TranscriptionRequest, *rules: FaultRule
) -> tuple[TranscriptionResponse, float]:
    """A response, and the dollars on the service's own bill."""
    async with running(replace(QUICK, faults=FaultPlan(rules))) as listening, make(listening.url) as provider:
        response = await provider.transcribe(request)
        return response, listening.simulation.ledger.cost_usd


def answers(response: TranscriptionResponse) -> SeveralAnswers:
    assert response.failure is None, response.failure
    found = read_several(response.text, ASKED)
    assert isinstance(found, SeveralAnswers), found
    return found


def texts(found: SeveralAnswers) -> list[str]:
    return [
        one.answer.code if isinstance(one.answer, Failure) else one.answer.transcription
        for one in found.clips
    ]


@both
@pytest.mark.parametrize("form", AnswerForm)
async def test_each_clip_is_answered_as_it_is_alone(make: Make, form: AnswerForm) -> None:
    response, bill = await ask(make, together(form))
    single = [read_answer((await ask(make, alone(number)))[0].text) for number in range(len(CLIPS))]
    found = answers(response)
    assert texts(found) == [one.transcription for one in single if isinstance(one, Answer)]
    assert len(set(texts(found))) == len(CLIPS)
    assert [one.seconds for one in found.clips] == list(LENGTHS)
    assert not found.faults
    usage = response.usage
    assert 0 <= usage.prompt_audio - 32 * sum(LENGTHS) <= len(CLIPS)
    price = load_capabilities(MODEL)
    assert price.cost_usd(usage, response.tier) == pytest.approx(bill)


async def test_both_wires_say_the_same_of_each_clip() -> None:
    first, second = [answers((await ask(make, together()))[0]) for make in (aistudio, openrouter)]
    assert texts(first) == texts(second)


SEEN: dict[FaultKind, list[str]] = {
    FaultKind.SWAP_CLIPS: [ClipFault.SWAPPED, ClipFault.SWAPPED, "", ""],
    FaultKind.DROP_CLIP: ["", "", "", ClipFault.MISSING],
    FaultKind.DOUBLE_CLIP: [ClipFault.DOUBLED, ClipFault.MISSING, "", ""],
    FaultKind.STRANGE_CLIP: [ClipFault.MISSING, "", "", ""],
    FaultKind.MERGE_CLIPS: ["", ClipFault.MISSING, "", ""],
    FaultKind.REPEAT_CLIP: ["", "", "", ""],
    FaultKind.FENCED: ["", "", "", ""],
    FaultKind.SPLIT_PARTS: ["", "", "", ""],
}
"""By the code of the failure of each clip; empty: it is kept."""


def test_every_fault_of_several_clips_is_looked_at() -> None:
    assert SEEN.keys() | {FaultKind.SWAP_TEXTS} >= OF_SEVERAL_CLIPS


@both
@pytest.mark.parametrize(("kind", "codes"), SEEN.items())
async def test_each_fault_is_seen_in_the_clips_that_it_befalls(
    make: Make, kind: FaultKind, codes: list[str]
) -> None:
    clean = texts(answers((await ask(make, together()))[0]))
    found = answers((await ask(make, together(), FaultRule(kind, least_clips=2)))[0])
    kept = texts(found)
    if kind is FaultKind.MERGE_CLIPS:  # whose text is too long for its clip, which validation sees
        clean[0] = f"{clean[0]} {clean[1]}"
        fastest = LANGUAGES["hi"].chars_per_second[2]
        assert len(clean[0]) > 1.5 * fastest * (LENGTHS[0] - 0.3)
    assert kept == [code or text for code, text in zip(codes, clean, strict=True)]
    assert (ClipFault.REPEATED in found.clips[0].faults) == (kind is FaultKind.REPEAT_CLIP)


@both
async def test_words_exchanged_under_ids_and_lengths_that_are_right_do_not_show_in_the_reply(
    make: Make,
) -> None:
    clean = texts(answers((await ask(make, together()))[0]))
    found = answers((await ask(make, together(), FaultRule(FaultKind.SWAP_TEXTS)))[0])
    assert texts(found) == [clean[1], clean[0], *clean[2:]]
    assert not any(one.faults for one in found.clips)


@both
@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (FaultKind.SAFETY, FailureKind.BLOCKED),
        (FaultKind.RECITATION, FailureKind.BLOCKED),
        (FaultKind.MAX_TOKENS, FailureKind.TRUNCATED),
        (FaultKind.EMPTY, FailureKind.EMPTY),
    ],
)
async def test_one_refusal_is_all_there_is_for_every_clip_and_is_paid_for(
    make: Make, kind: FaultKind, failure: FailureKind
) -> None:
    response, bill = await ask(make, together(), FaultRule(kind))
    assert response.failure is not None
    assert response.failure.kind is failure
    assert bill > 0
    assert response.usage.total > 0


async def test_a_rule_for_several_clips_leaves_single_ones_alone() -> None:
    rules = (FaultRule(FaultKind.SAFETY, least_clips=2),)
    response, _ = await ask(aistudio, alone(0), *rules)
    assert response.failure is None
    for kind in (FaultKind.SWAP_CLIPS, FaultKind.DROP_CLIP, FaultKind.MERGE_CLIPS):
        response, _ = await ask(aistudio, alone(0), FaultRule(kind))
        assert isinstance(read_answer(response.text), Answer)
