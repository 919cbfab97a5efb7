"""The question asked for a clip, and what its answer is worth: the same for a fleet and for a canary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lipika import validation
from lipika.engine.outcome import Circumstances, Review
from lipika.llm import prompt, several, transcript
from lipika.llm.own_prompt import NOTHING_OWN, OwnPrompt
from lipika.llm.provider import AudioSource, SeveralClips, TranscriptionRequest
from lipika.models import (
    Answer,
    AnswerForm,
    Clip,
    ClipResult,
    ClipStatus,
    Failure,
    Judged,
    Provenance,
    SendFormat,
    Usage,
)


def request_for(
    video_id: str,
    clip: Clip,
    language: str | None,
    audio: bytes | AudioSource,
    audio_format: SendFormat,
    *,
    form: AnswerForm = AnswerForm.FULL,
    readings: tuple[str, str] | None = None,
    own: OwnPrompt = NOTHING_OWN,
) -> TranscriptionRequest:
    """The request for a clip. `language` is the hint; `audio` the bytes as sent, or where they lie; `form` that of
    the answer, which must be the provider's, too; `own` what a person adds to the prompt.

    With `readings` of two voters who disagree it is asked for what is right; only a canary does that.
    """
    return TranscriptionRequest(
        clip_id=f"{video_id}/{clip.name.stem}",
        video_id=video_id,
        language=language,
        system_prompt=prompt.system_prompt(language, form, own),
        clip_prompt=prompt.clip_prompt(clip.duration_ms, readings=readings),
        audio=audio if isinstance(audio, bytes) else b"",
        source=None if isinstance(audio, bytes) else audio,
        audio_format=audio_format,
        audio_ms=clip.duration_ms,
        max_output_tokens=prompt.max_output_tokens(clip.duration_ms, language),
        varied_prompt=prompt.clip_prompt(clip.duration_ms, varied=True, readings=readings),
    )


def request_for_several(
    name: str,
    clips: Sequence[tuple[str, Clip, bytes]],
    language: str | None,
    audio_format: SendFormat,
    form: AnswerForm,
    own: OwnPrompt = NOTHING_OWN,
) -> TranscriptionRequest:
    """One request for several clips of one language, each under an id of `several.make_ids`; for a canary alone.

    `name` is the request's, for logs: its video, and its first clip.
    """
    caps = [prompt.max_output_tokens(clip.duration_ms, language) for _, clip, _ in clips]
    return TranscriptionRequest(
        clip_id=name,
        video_id=name.rpartition("/")[0],
        language=language,
        system_prompt=prompt.system_prompt(language, form, own),
        clip_prompt=several.several_prompt(len(clips), form),
        audio=b"",
        audio_format=audio_format,
        audio_ms=sum(clip.duration_ms for _, clip, _ in clips),
        max_output_tokens=sum(caps) - (len(caps) - 1) * prompt.THINKING_HEADROOM_TOKENS,
        several=SeveralClips(
            several.several_schema(form),
            tuple((several.words_before(clip_id), audio) for clip_id, _, audio in clips),
        ),
    )


def review(
    text: str, clip: Clip, language: str | None, bands: validation.Bands, asked: Circumstances
) -> Review | Failure:
    """Read and judge an answer, and say whether asking once more may bring a better one."""
    answer = transcript.read_answer(text)
    return answer if isinstance(answer, Failure) else judge(answer, clip, language, bands, asked)


def judge(
    answer: Answer, clip: Clip, language: str | None, bands: validation.Bands, asked: Circumstances
) -> Review:
    """The same for an answer that has been read."""
    agreed = asked.before is not None and validation.say_the_same(answer, asked.before.answer)
    verdict = validation.validate(answer, clip, language, bands=bands, agreed=agreed)
    advice = validation.retry_advice(verdict, varied=asked.varied, switched=asked.switched)
    return Review(Judged(answer, verdict), advice, validation.acceptable(verdict))


NOT_ASKED = "not_asked"
"""Flag of a clip that nobody was asked for."""

_NOBODY_SPEAKS = Answer(
    transcription=transcript.NO_SPEECH,
    tagged=transcript.NO_SPEECH,
    detected_language="none",
    speaker_emotion="neutral",
    speaker_style="other",
    speaker_pace="moderate",
    speaker_accent="unknown",
)


def answer_unasked(
    video_id: str, clip: Clip, language: str | None, bands: validation.Bands, worker_id: str
) -> ClipResult:
    """The result of a clip in which nothing can be speech: NO_SPEECH, for nothing."""
    silent = replace(clip, flags=(*clip.flags, NOT_ASKED))
    return ClipResult(
        video_id=video_id,
        clip=silent,
        language_hint=language or "",
        status=ClipStatus.NO_SPEECH,
        answer=_NOBODY_SPEAKS,
        verdict=validation.validate(_NOBODY_SPEAKS, silent, language, bands=bands),
        failure=None,
        usage=Usage(),
        cost_usd=0.0,
        provenance=Provenance("", "", "", "", "", None, "", worker_id, "", 0, 0, asked=False),
    )


def status_of(judged: Judged | None) -> ClipStatus:
    """The end of a clip with this answer, or with none."""
    if judged is None:
        return ClipStatus.FAILED
    return ClipStatus.NO_SPEECH if judged.answer.no_speech else ClipStatus.TRANSCRIBED
