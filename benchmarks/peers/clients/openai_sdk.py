"""The openai SDK on its aiohttp transport, through the server's OpenAI-compatible path, with its own retries on."""

from __future__ import annotations

import base64

import httpx2
import openai

from benchmarks.peers.drive import CLIP_PROMPT, MODEL, SYSTEM_PROMPT, TIMEOUT_S, Client, OneByOne, Task


class OpenAISdk(OneByOne):
    async def open(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = openai.AsyncOpenAI(
            api_key=self.task.key,
            base_url=f"{self.task.url}/v1",
            max_retries=5,
            timeout=TIMEOUT_S,
            http_client=openai.DefaultAioHttpClient(limits=limits, timeout=TIMEOUT_S),
        )

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, flac: bytes) -> str:
        audio = base64.b64encode(flac).decode()
        reply = await self._client.chat.completions.create(
            model=MODEL,
            temperature=0.0,
            messages=[
                {"role": "system", "content": SYSTEM_PROMPT},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": CLIP_PROMPT},
                        {"type": "input_audio", "input_audio": {"data": audio, "format": "flac"}},
                    ],
                },
            ],
        )
        return reply.choices[0].message.content or ""


def client(task: Task) -> Client:
    return OpenAISdk(task)
