"""Tokens of a clip that nobody has metered yet: prompt and answer as counted, thoughts as assumed. Pure.

`benchmarks.cost` counts them, and a test holds these figures to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from lipika.llm.capabilities import Capabilities
from lipika.models import AnswerForm, Usage

CLIP_S = 8.0
PROMPT_TOKENS: Mapping[AnswerForm, int] = {AnswerForm.FULL: 420, AnswerForm.LEAN: 419}
"""Of the text; the audio is apart."""
ANSWER_TOKENS: Mapping[AnswerForm, int] = {AnswerForm.FULL: 139, AnswerForm.LEAN: 75}
THOUGHT_TOKENS: Mapping[str, int] = {"none": 0, "minimal": 8, "low": 100, "medium": 400, "high": 1200}
"""By thinking level; nobody publishes them. `none`: of a model that is asked without a level."""


def assume_usage(form: AnswerForm, level: str, model: Capabilities) -> Usage:
    """One clip of 8 s, asked once in this way."""
    text, audio = PROMPT_TOKENS[form], round(CLIP_S * model.audio_tokens_per_second)
    thoughts = THOUGHT_TOKENS[level]
    return Usage(
        prompt=text + audio,
        prompt_text=text,
        prompt_audio=audio,
        output=ANSWER_TOKENS[form] + thoughts,
        thoughts=thoughts,
    )
