"""Reading chat completion requests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

import orjson
from pydantic import ValidationError

from lipika.llm.capabilities import Capabilities
from lipika.models import ServiceTier
from lipika.simulator.answers import hinted_language
from lipika.simulator.audio import Ear, SimulatedHearing, UnreadableAudio, together
from lipika.simulator.exchange import Question, Wire, name_clips
from lipika.simulator.lifting import CACHEABLE_BYTES, lift
from lipika.simulator.openrouter.errors import invalid, no_endpoint
from lipika.simulator.openrouter.messages import AudioPart, ChatRequest, Reasoning, Routing, TextPart


def read(body: bytes, *, models: Mapping[str, Capabilities], project: str, hear: Ear) -> Question:
    """A request's body as a question; `models` are those served, by slug.

    Raises:
        WireError: OpenRouter would refuse it; holds the reply.
    """
    lifted = lift(body)
    request = (_parse_chat if len(lifted.json) < CACHEABLE_BYTES else _parse_chat.__wrapped__)(lifted.json)
    model = models.get(request.model)
    if model is None:
        raise invalid(f"{request.model} is not a valid model ID")  # 400, not 404, as OpenRouter has it
    question, clips = _outline(request, model)
    each = [_hear(lifted.original(data), hear) for data, _ in clips]
    heard = together(each)
    return replace(
        question,
        project=project,
        heard=heard,
        clips=name_clips([words for _, words in clips], each),
        digest=heard.digest if heard else question.digest,
    )


@lru_cache(maxsize=2048)  # apart from the audio, which was lifted out, requests are much alike
def _parse_chat(json: bytes) -> ChatRequest:
    try:
        request = ChatRequest.model_validate(orjson.loads(json))
    except orjson.JSONDecodeError as error:
        raise invalid(f"Request body is not valid JSON: {error}") from None
    except ValidationError as error:
        # Where content may be text or parts, the deepest error is about the one that was meant.
        worst = max(error.errors(include_url=False, include_input=False), key=lambda one: len(one["loc"]))
        raise invalid(f"{'.'.join(str(step) for step in worst['loc'])}: {worst['msg']}") from None
    if request.stream:
        raise invalid("stream: the simulator answers whole replies only")
    return request


def _outline(request: ChatRequest, model: Capabilities) -> tuple[Question, list[tuple[str, str]]]:
    """The question without project and audio; the data of each clip of audio, and the words before it."""
    routing = request.provider or Routing()
    if routing.require_parameters and request.temperature is not None and not model.temperature:
        raise no_endpoint()
    common = _text(request, ("system", "developer"))
    own = _text(request, ("user", "assistant"))
    form = request.response_format
    question = Question(
        wire=Wire.OPENROUTER,
        project="",
        model=model,
        common_text=common,
        own_text=own,
        heard=None,
        digest=hashlib.sha256(f"{common}\n{own}".encode()).digest(),
        language=hinted_language(common) or hinted_language(own),
        wants_json=form is not None and form.type != "text",
        schema=form.json_schema.schema_ if form and form.json_schema else None,
        thinking_level=_thinking_level(request.reasoning),
        max_output_tokens=request.max_completion_tokens or request.max_tokens,
        temperature=request.temperature,
        # Where a model has no such tier, the request is served at the standard one.
        tier=ServiceTier.FLEX
        if request.service_tier == "flex" and model.flex_factor != 1.0
        else ServiceTier.STANDARD,
    )
    return question, list(_clips(request))


def _clips(request: ChatRequest) -> Iterable[tuple[str, str]]:
    words = ""
    for message in request.messages:
        for part in message.content:
            if isinstance(part, AudioPart):
                yield part.input_audio.data, words
                words = ""
            elif isinstance(part, TextPart):
                words = part.text


def _hear(data: bytes, hear: Ear) -> SimulatedHearing:
    try:
        return hear(data)
    except UnreadableAudio as error:
        raise invalid(f"Provider returned error: unreadable audio ({error})") from None
    except ValueError:
        raise invalid("input_audio.data: not base64") from None


def _text(request: ChatRequest, roles: tuple[str, ...]) -> str:
    texts: list[str] = []
    for message in request.messages:
        if message.role not in roles:
            continue
        if isinstance(message.content, str):
            texts.append(message.content)
        else:
            texts += [part.text for part in message.content if isinstance(part, TextPart)]
    return "\n".join(texts)


def _thinking_level(reasoning: Reasoning | None) -> str:
    if reasoning is None or reasoning.effort is None:
        return "HIGH"
    return {"none": "MINIMAL", "xhigh": "HIGH"}.get(reasoning.effort, reasoning.effort.upper())
