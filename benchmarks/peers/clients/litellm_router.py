"""litellm's Router over one Gemini deployment, told the quota, with its aiohttp transport and its own retries."""

from __future__ import annotations

import base64
import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches a list of prices at its start
os.environ["AIOHTTP_CONNECTOR_LIMIT"] = os.environ["AIOHTTP_CONNECTOR_LIMIT_PER_HOST"] = "8000"

import litellm

from benchmarks.peers.drive import CLIP_PROMPT, MODEL, SYSTEM_PROMPT, TIMEOUT_S, Client, OneByOne, Task

litellm.suppress_debug_info = True


class LitellmRouter(OneByOne):
    async def open(self) -> None:
        params: dict[str, Any] = {
            "model": f"gemini/{MODEL}",
            "api_key": self.task.key,
            "api_base": f"{self.task.url}/v1beta",
            "max_parallel_requests": self.task.in_flight,
        }
        if self.task.rpm:
            params["rpm"] = self.task.rpm
        self._router = litellm.Router(
            model_list=[{"model_name": "transcriber", "litellm_params": params}],
            routing_strategy="usage-based-routing-v2" if self.task.rpm else "simple-shuffle",
            num_retries=5,
            timeout=TIMEOUT_S,
        )

    async def ask(self, flac: bytes) -> str:
        audio = base64.b64encode(flac).decode()
        reply = await self._router.acompletion(
            model="transcriber",
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
        return str(reply.choices[0].message.content)


def client(task: Task) -> Client:
    return LitellmRouter(task)
