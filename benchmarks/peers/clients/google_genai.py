"""google-genai with its aiohttp transport, its own retries on, and no cap of its own on connections."""

from __future__ import annotations

import aiohttp
from google import genai
from google.genai import types

from benchmarks.peers.drive import CLIP_PROMPT, MODEL, SYSTEM_PROMPT, TIMEOUT_S, Client, OneByOne, Task


class GoogleGenai(OneByOne):
    async def open(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        options = types.HttpOptions(
            base_url=self.task.url,
            timeout=int(TIMEOUT_S * 1000),
            retry_options=types.HttpRetryOptions(attempts=5),
            aiohttp_client=self._session,
        )
        self._client = genai.Client(api_key=self.task.key, http_options=options)
        self._config = types.GenerateContentConfig(system_instruction=SYSTEM_PROMPT, temperature=0.0)

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, flac: bytes) -> str:
        audio = types.Part.from_bytes(data=flac, mime_type="audio/flac")
        reply = await self._client.aio.models.generate_content(
            model=MODEL, contents=[CLIP_PROMPT, audio], config=self._config
        )
        return reply.text or ""


def client(task: Task) -> Client:
    return GoogleGenai(task)
