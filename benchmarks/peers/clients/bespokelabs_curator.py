"""bespokelabs-curator on its litellm backend, asking Gemini: takes a whole list of files, and is told the quota."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from typing import Any

os.environ |= {
    "CURATOR_DISABLE_CACHE": "1",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "TELEMETRY_ENABLED": "0",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "AIOHTTP_CONNECTOR_LIMIT": "8000",
    "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "8000",
}

from bespokelabs import curator

from benchmarks.peers.drive import CLIP_PROMPT, MODEL, SYSTEM_PROMPT, TIMEOUT_S, Client, Task

_NO_LIMIT = 10**9
_NO_QUOTA_RPM = 10**5  # its connection pool is ten times this


class _Transcriber(curator.LLM):
    def prompt(self, row: dict[str, Any]) -> tuple[str, Any]:
        return f"{SYSTEM_PROMPT} {CLIP_PROMPT}", curator.types.File(url=row["path"], mime_type="audio/flac")

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        return {"path": row["path"], "text": response}


class Curator(Client):
    async def open(self) -> None:
        os.environ["GEMINI_API_KEY"] = self.task.key
        self._paths = [str(path) for path in self.task.paths()]
        self._working_dir = tempfile.mkdtemp(dir=".")

    async def ask_all(self, clips: Sequence[bytes], count: int) -> None:
        """All in one call, in a thread: it runs an event loop of its own."""
        rows = [{"path": self._paths[number % len(clips)], "number": number} for number in range(count)]
        answered = await asyncio.to_thread(self._run, rows)
        if answered < count:
            self.gave_up += count - answered
            self.last_error = f"{count - answered} of {count} rows have no answer"

    def _run(self, rows: list[dict[str, Any]]) -> int:
        transcriber = _Transcriber(
            model_name=f"gemini/{MODEL}",
            backend="litellm",
            backend_params={
                "base_url": f"{self.task.url}/v1beta",
                "max_requests_per_minute": self.task.rpm or _NO_QUOTA_RPM,
                "max_tokens_per_minute": _NO_LIMIT,
                "max_concurrent_requests": self.task.in_flight,
                "request_timeout": int(TIMEOUT_S),
                "require_all_responses": False,
            },
        )
        return len(transcriber(rows, working_dir=self._working_dir).dataset)


def client(task: Task) -> Client:
    return Curator(task)
