"""A server on this machine that passes real answers on, as gateways do (LiteLLM, one-api, a sidecar)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from http_kit import listening

TEXTS = {
    "hi": "आज मौसम बहुत अच्छा है",
    "ta": "இன்று வானிலை மிகவும் நன்றாக உள்ளது",
    "en": "the weather is fine today",
    "none": "NO_SPEECH",
}

Describe = Callable[[web.Request], web.Response]
"""What it answers to a GET of the model."""


@dataclass(slots=True)
class Gateway:
    """What it was asked; `heard` says in which language the clip of a digest is."""

    heard: Callable[[str], str] = lambda _digest: "hi"
    url: str = ""
    described: int = 0
    asked: Counter[str] = field(default_factory=Counter)  # by digest of the audio
    asked_as: Counter[tuple[str, str, float | None]] = field(
        default_factory=Counter
    )  # audio, model, temperature
    latency_s: float = 0.0
    blocks_first: bool = False  # the first request for each audio
    model_version: str = "gemini-3-flash-preview"
    says: Callable[[str, float | None], str] | None = (
        None  # text by digest and temperature, of a clip with speech
    )
    systems: Counter[str] = field(default_factory=Counter)  # system prompts it was given

    @property
    def requests(self) -> int:
        return self.asked.total()

    def settings(self, folder: Path, database_url: str, **more: str) -> dict[str, str]:
        """The environment of a `lipika` that asks it."""
        return {
            "DATABASE_URL": database_url,
            "GEMINI_BASE_URL": self.url,
            "GEMINI_API_KEY": "k" * 20,
            "BATCH_INTERVAL_SECONDS": "2",
            "LIVE_SECONDS": "0.3",
            "WORKER_PROCESSES": "0",
            "SPOOL_DIR": str(folder),
            **more,
        }


def not_there(_request: web.Request) -> web.Response:
    return web.Response(status=404, text="no such path")


@asynccontextmanager
async def a_gateway(describe: Describe = not_there, **given: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(**given)

    async def generate(request: web.Request) -> web.Response:
        sent = orjson.loads(await request.read())
        parts = sent["contents"][0]["parts"]
        data = next(part["inlineData"]["data"] for part in parts if "inlineData" in part)
        digest = hashlib.sha256(data.encode()).hexdigest()
        gateway.asked[digest] += 1
        gateway.systems[_system_text(sent)] += 1
        model = request.path.rpartition("/")[2].partition(":")[0]
        gateway.asked_as[digest, model, sent["generationConfig"].get("temperature")] += 1
        await asyncio.sleep(gateway.latency_s)
        if gateway.blocks_first and gateway.asked[digest] == 1:
            return web.json_response({"promptFeedback": {"blockReason": "SAFETY"}})
        language = gateway.heard(digest)
        text = TEXTS[language]
        if gateway.says is not None and language != "none":
            text = gateway.says(digest, sent["generationConfig"].get("temperature"))
        return web.Response(body=_answer(gateway, language, text), content_type="application/json")

    async def get(request: web.Request) -> web.Response:
        gateway.described += 1
        return describe(request)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", generate)
    app.router.add_get("/{path:.*}", get, allow_head=False)
    async with listening(app) as gateway.url:
        yield gateway


def _system_text(sent: dict[str, Any]) -> str:
    parts = (sent.get("systemInstruction") or sent.get("system_instruction") or {}).get("parts", [])
    return "".join(part.get("text", "") for part in parts)


def _answer(gateway: Gateway, language: str, text: str) -> bytes:
    answer = {
        "transcription": text,
        "tagged": text,
        "detected_language": language,
        "speaker_emotion": "neutral",
        "speaker_style": "conversational",
        "speaker_pace": "moderate",
        "speaker_accent": "unknown",
    }
    usage = {
        "promptTokenCount": 700,
        "candidatesTokenCount": 120,
        "totalTokenCount": 820,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 450},
            {"modality": "AUDIO", "tokenCount": 250},
        ],
    }
    content = {"role": "model", "parts": [{"text": orjson.dumps(answer).decode()}]}
    return orjson.dumps(
        {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": usage,
            "modelVersion": gateway.model_version,
        }
    )
