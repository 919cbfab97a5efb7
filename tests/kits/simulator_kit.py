"""What the simulator's tests share: clips of audio, request bodies, one call."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import aiohttp
import numpy as np
import orjson
import soundfile

from lipika.llm.transcript import response_schema
from lipika.simulator import Latency, SimulatorConfig

MODEL = "gemini-3-flash-preview"
INSTANT = Latency(median_s=0.0)
QUICK = SimulatorConfig(latency=INSTANT)


def flac(seconds: float, *, seed: int = 0, level: float = 0.1, format: str = "FLAC") -> bytes:  # noqa: A002
    """Noise that swells and ebbs like syllables, 16 kHz; `level` is its RMS, 0 = digital silence."""
    count = int(seconds * 16_000)
    times = np.arange(count) / 16_000
    noise = np.random.default_rng(seed).normal(0, level, count) * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * times))
    file = io.BytesIO()
    soundfile.write(file, np.clip(noise, -1, 1).astype(np.float32), 16_000, format=format)
    return file.getvalue()


def gemini_body(
    audio: bytes | None, *, system: str = "Language hint: Hindi (hi)", **config: object
) -> dict[str, Any]:
    """A request as lipika sends it; `config` goes over its generationConfig, None takes a field out."""
    parts: list[dict[str, Any]] = [{"text": "Transcribe this clip."}]
    if audio is not None:
        data = base64.b64encode(audio).decode()
        parts.append({"inlineData": {"mimeType": "audio/flac", "data": data}})
    generation: dict[str, object] = {
        "temperature": 0,
        "maxOutputTokens": 4096,
        "responseMimeType": "application/json",
        "responseJsonSchema": response_schema(),
        "thinkingConfig": {"thinkingLevel": "LOW"},
    }
    generation |= config
    return {
        "systemInstruction": {"parts": [{"text": system}]},
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {key: value for key, value in generation.items() if value is not None},
    }


def chat_body(audio: bytes, **changes: object) -> dict[str, Any]:
    """The same request in OpenRouter's form; `changes` go over its fields, None takes one out."""
    data = base64.b64encode(audio).decode()
    body: dict[str, object] = {
        "model": f"google/{MODEL}",
        "messages": [
            {"role": "system", "content": "Language hint: Hindi (hi)"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Transcribe this clip."},
                    {"type": "input_audio", "input_audio": {"data": data, "format": "flac"}},
                ],
            },
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": response_schema()},
        },
        "reasoning": {"effort": "low", "exclude": True},
        "max_tokens": 4096,
        "session_id": "hi-1",
    }
    body |= changes
    return {key: value for key, value in body.items() if value is not None}


async def post(
    url: str, body: Mapping[str, Any] | bytes, *, headers: Mapping[str, str], timeout_s: float = 10
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Status, JSON body and headers of one POST."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, data=data, headers=headers) as reply,
    ):
        return reply.status, orjson.loads(await reply.read()), reply.headers


async def ask_gemini(
    url: str, body: Mapping[str, Any] | bytes, *, key: str = "k", model: str = MODEL, timeout_s: float = 10
) -> tuple[int, dict[str, Any]]:
    """One generateContent call: status and JSON body."""
    status, reply, _ = await post(
        f"{url}/v1beta/models/{model}:generateContent",
        body,
        headers={"x-goog-api-key": key},
        timeout_s=timeout_s,
    )
    return status, reply


async def ask_openrouter(
    url: str, body: Mapping[str, Any] | bytes, *, key: str = "k", timeout_s: float = 10
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """One chat completion: status, JSON body and headers."""
    return await post(
        f"{url}/api/v1/chat/completions",
        body,
        headers={"Authorization": f"Bearer {key}"},
        timeout_s=timeout_s,
    )


def text_of(reply: Mapping[str, Any]) -> str:
    """The text of a Gemini reply's first candidate, thoughts left out."""
    parts = reply["candidates"][0]["content"]["parts"]
    return "".join(part["text"] for part in parts if not part.get("thought"))
