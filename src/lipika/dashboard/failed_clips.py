"""Clips without an answer, in plain sentences: what happened, what is done about it, what a person can do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lipika.models import FailureKind


@dataclass(frozen=True, slots=True)
class FailureStory:
    """Three sentences on a clip that has failed."""

    happened: str
    next: str
    way_out: str


_NOTHING = "Nothing more: the clip counts as failed; its audio lies in the result archive without a text."
_TRIED = f"It was tried again and did not get through. {_NOTHING}"
_AGAIN = "do its video again (on the video's page): only clips without an answer are asked and paid for"
_AGAIN_LATER = f"When the service is well, {_AGAIN}."

_STORIES: Mapping[FailureKind, FailureStory] = {
    FailureKind.RATE_MINUTE: FailureStory(
        "The service answered others, and kept telling this clip that the minute's requests or tokens are used up.",
        _TRIED,
        f"Set a lower limit for requests or tokens a minute, then {_AGAIN}.",
    ),
    FailureKind.RATE_DAY: FailureStory(
        "The service's quota for the day was used up.",
        _NOTHING,
        f"After the quota's reset (midnight Pacific time), {_AGAIN}.",
    ),
    FailureKind.SPEND: FailureStory(
        "The service's own limit of spending was reached.",
        _NOTHING,
        f"Raise it where you are billed, then {_AGAIN}.",
    ),
    FailureKind.OVERLOADED: FailureStory(
        "The service was overloaded each time that this clip was sent, while it answered others.",
        _TRIED,
        _AGAIN_LATER,
    ),
    FailureKind.SERVER: FailureStory(
        "The service broke down over this clip, or the connection was lost, each time that it was sent.",
        _TRIED,
        f"{_AGAIN_LATER} If it fails again alone, the audio itself upsets the service: leave it.",
    ),
    FailureKind.TIMEOUT: FailureStory(
        "No answer came in time, however often it was asked.",
        _TRIED,
        f"{_AGAIN_LATER} A longer REQUEST_TIMEOUT_SECONDS helps where the service is slow.",
    ),
    FailureKind.BAD_REQUEST: FailureStory(
        "The service refused the request as malformed.",
        f"It is not asked again in the same words. {_NOTHING}",
        f"Its words below say what it minds, mostly settings that the model does not take. Mend them, then {_AGAIN}.",
    ),
    FailureKind.AUTH: FailureStory(
        "The service refused the key, the region or the model for this clip, while others were answered.",
        _TRIED,
        f"Look at the key with lipika doctor, then {_AGAIN}.",
    ),
    FailureKind.PAYMENT: FailureStory(
        "The account was out of credit.",
        "The video went back into the queue; nothing is sent until there is credit.",
        "Add credit where you are billed. The video goes on by itself.",
    ),
    FailureKind.BLOCKED: FailureStory(
        "The service heard the clip and would not write down what is said: a filter of its own blocked the answer "
        "(safety, or words that it knows from elsewhere).",
        f"The other provider was asked, where there is one. {_NOTHING}",
        "Listen to it and type the text yourself, leave it out, or ask another model (a second provider, a cascade). "
        "Asking the same one again seldom helps.",
    ),
    FailureKind.TRUNCATED: FailureStory(
        "The answer was cut off before its end, most often since the model went on repeating itself.",
        f"It was asked once more in other words. {_NOTHING}",
        f"Listen to it: music and noise do this. Type the text yourself, or {_AGAIN}.",
    ),
    FailureKind.MALFORMED: FailureStory(
        "The answer was not in the form that was asked for.",
        f"It was asked once more in other words. {_NOTHING}",
        f"Type the text yourself, or {_AGAIN}.",
    ),
    FailureKind.EMPTY: FailureStory(
        "The answer held no text, and did not say either that nobody speaks.",
        f"It was asked once more in other words. {_NOTHING}",
        f"Listen to it and type the text yourself, or {_AGAIN}.",
    ),
    FailureKind.DEFECT: FailureStory(
        "The service answered, and lipika itself could not judge or keep the answer.",
        f"The traceback is on the page Errors. {_NOTHING}",
        f"Please report it with the traceback; with a release that mends it, {_AGAIN}.",
    ),
}
_UNKNOWN = FailureStory(
    "The clip has no answer, for a reason that this release does not know.",
    _NOTHING,
    f"The words below may help; {_AGAIN}.",
)


def tell_failure(kind: str | None) -> FailureStory:
    """The story of a kind of failure; of one that is none of ours, a general one."""
    return _STORIES[FailureKind(kind)] if kind in set(FailureKind) else _UNKNOWN
