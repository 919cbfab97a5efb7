"""Clients of both wires, and what their tests ask and answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lipika.llm.aistudio import AIStudioProvider
from lipika.llm.capabilities import load_capabilities
from lipika.llm.openrouter import OpenRouterProvider
from lipika.llm.provider import (
    HttpProvider,
    ModelOptions,
)
from lipika.llm.transcript import response_schema

MODEL = "gemini-3-flash-preview"


KEY = "a-key-of-the-contract-tests"


OPTIONS = ModelOptions(MODEL, 0.0, "low", 10.0)


Make = Callable[..., HttpProvider]


def aistudio(url: str, options: ModelOptions = OPTIONS, key: str = KEY) -> HttpProvider:
    return AIStudioProvider(
        base_url=url,
        api_key=key,
        options=options,
        capabilities=load_capabilities(MODEL),
        response_schema=response_schema(),
    )


def openrouter(url: str, options: ModelOptions = OPTIONS, key: str = KEY) -> HttpProvider:
    return OpenRouterProvider(
        base_url=f"{url}/api/v1",
        api_key=key,
        options=options,
        capabilities=load_capabilities(MODEL),
        response_schema=response_schema(),
        prompt_version="1",
        routed=True,
    )


both = pytest.mark.parametrize("make", [aistudio, openrouter])


ANSWERS = {
    aistudio: {"candidates": [{"content": {"parts": [{"text": "{}"}]}, "finishReason": "STOP"}]},
    openrouter: {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]},
}
