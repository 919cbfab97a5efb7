"""The configuration of the simulator: latency, quotas, caching, keys, faults and where it listens.

Everything here is a frozen dataclass that also reads itself from JSON or TOML (`read`), strictly: an
unknown key is an error, because a misspelt quota would silently be no quota.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lipika.errors import SettingsError
from lipika.models import SIMULATED
from lipika.simulator.exchange import Details
from lipika.simulator.faults import FaultPlan

_STRICT = ConfigDict(extra="forbid")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Latency:
    """Time from the last byte of a request to the first of its reply: lognormal, plus a share per token."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    median_s: float = 0.25
    sigma: float = 0.3  # of the logarithm: 0.3 puts the 95th percentile at 1.6 times the median
    per_output_token_s: float = 0.0  # thoughts count too


@dataclass(frozen=True, slots=True)
class Quotas:
    """Limits of one project and model; None = none. Only admitted requests use quota, as with Google.

    `sliding` counts exactly what was admitted in the last window, so that no rolling minute can exceed the
    limit; `bucket` holds one window's worth and refills evenly, so that an idle minute allows a burst on top.
    The daily quota is a fixed window: midnight Pacific standard time, or every `day_s` seconds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    rpm: int | None = None
    tpm: int | None = None  # input tokens, as the API counts them
    rpd: int | None = None
    spend_usd: float | None = None  # per `spend_window_s`
    qps: int | None = None
    in_flight: int | None = None  # more at once are answered "overloaded" (503), not 429
    credit_usd: float | None = None  # once used up: 402 at OpenRouter, 403 (billing disabled) at Google
    spend_window_s: float = 600.0
    day_s: float | None = None
    window: Literal["sliding", "bucket"] = "sliding"
    details: Details = Details.FULL  # of a 429's body


@dataclass(frozen=True, slots=True)
class Caching:
    """Implicit caching of the common prefix (the system instruction), which real services do not promise."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    min_tokens: int | None = None  # None: the model's documented minimum
    hit_rate: float = 1.0  # of the requests that could hit
    ttl_s: float = 300.0
    block_tokens: int = 1  # what is cached is cut down to whole blocks of so many


@dataclass(frozen=True, slots=True)
class FlexQueue:
    """The queue of requests at Flex: an even wait of 1 to 15 minutes, and 503 at once for those that are shed.

    `scale` makes all waits so many times as long: 0.001 makes a test of it. A request whose `X-Server-Timeout` is
    shorter than its wait is answered 504 then, and not billed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    least_s: float = 60.0
    most_s: float = 900.0
    scale: float = 1.0
    shed: float = 0.2  # share of the requests
    served_standard: float = 0.0  # share that is served, and billed, at the full price


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """One simulator. The defaults suit a demo on loopback.

    `keys` lists the accepted API keys, each `key` or `key=project` (keys of one project share its quotas);
    an empty list accepts any key, each a project of its own. `light` trades checks for CPU: audio is not
    decoded, silence is told from the size alone, the digest comes from the FLAC header's MD5.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    host: str = "127.0.0.1"
    port: int = 0  # 0 = any free one
    seed: int = 0
    light: bool = False
    latency: Latency = Latency()
    quotas: Quotas = Quotas()
    caching: Caching = Caching()
    flex: FlexQueue = FlexQueue()
    faults: FaultPlan = FaultPlan()
    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # served besides the ones in the capability table
    model_version: str = SIMULATED
    retirement_time: str = ""  # what `models.get` says, RFC 3339; empty: nothing
    max_body_bytes: int = 20 * 1024 * 1024  # the API's long-standing limit for inline data
    silence_peak_dbfs: float = -45.0  # audio that never exceeds it holds no speech
    event_tag_rate: float = 0.2  # share of answers with an event tag
    tls_cert: Path | None = None
    tls_key: Path | None = None
    request_log: Path | None = None  # one JSON line per request

    def project_of(self, key: str) -> str | None:
        """The project an API key belongs to; None when the key is not accepted."""
        if not self.keys:
            return key
        return _projects(self.keys).get(key)


@cache
def _projects(keys: tuple[str, ...]) -> Mapping[str, str]:
    pairs = (entry.partition("=") for entry in keys)
    return {key: project or key for key, _, project in pairs}


@dataclass(frozen=True, slots=True)
class _Adapters:
    known: dict[type, TypeAdapter[Any]] = field(default_factory=dict)

    def adapter(self, kind: type[T]) -> TypeAdapter[T]:
        if kind not in self.known:
            self.known[kind] = TypeAdapter(kind)
        return self.known[kind]


_adapters = _Adapters()


def read(kind: type[T], fields: object, where: str) -> T:
    """`fields` (as parsed from JSON or TOML) as one of the dataclasses above.

    Raises:
        SettingsError: a field is unknown or has a wrong value; names `where`, the field and the cause.
    """
    try:
        return _adapters.adapter(kind).validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{where}: {at or 'the whole'}: {first['msg']}") from None


def read_json(kind: type[T], text: bytes | str, where: str) -> T:
    """As `read`, from JSON text."""
    try:
        return _adapters.adapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{where}: {at or 'the whole'}: {first['msg']}") from None


def write_json(value: object) -> bytes:
    """One of the dataclasses above as JSON text that `read_json` takes."""
    return _adapters.adapter(type(value)).dump_json(value)
