"""Settings: the environment, read once at the edge. Every field is one environment variable of the same name.

`.env` in the working folder is read too; the real environment wins over it. `.env.template` documents
each variable and is kept in step with this file by a test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lipika.errors import SettingsError

ProviderName = Literal["aistudio", "openrouter", "simulator"]
ThinkingLevel = Literal["minimal", "low", "medium", "high"]
TierName = Literal["standard", "flex"]

KEY_VARIABLES = {"aistudio": "GEMINI_API_KEY", "openrouter": "OPENROUTER_API_KEY"}
"""Providers that want a key, and the variable of it. Each can stand in for the other."""
SIMULATED_KEY = SecretStr("simulated-key")
"""Key for our own simulator, which takes any."""


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError("an http:// or https:// URL is expected")
    return value.rstrip("/")


def _postgres_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None and urlsplit(value.get_secret_value()).scheme not in {"postgres", "postgresql"}:
        raise ValueError("a postgresql:// URL is expected")
    return value


def _password(url: str) -> str:
    """The password in a URL; a proxy's may lack the scheme."""
    try:
        return urlsplit(url if "://" in url else f"http://{url}").password or ""
    except ValueError:
        return ""


HttpUrl = Annotated[str, AfterValidator(_http_url)]
PostgresUrl = Annotated[SecretStr | None, AfterValidator(_postgres_url)]


class Settings(BaseSettings):
    """All settings, validated. Build with `load_settings()`, which turns mistakes into one clear sentence each."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=True
    )

    # ---- where things are
    database_url: PostgresUrl = Field(
        None, description="Postgres; empty starts an embedded one. Supabase: the transaction pooler's URL."
    )
    lipika_data_dir: Path | None = Field(
        None, description="Folder of the embedded Postgres; empty: the user's state folder."
    )
    store_url: str = Field("", description="Where archives are: a folder, file:// or s3://bucket/prefix.")
    output_url: str = Field("", description="Where results go: a folder, file:// or s3://bucket/prefix.")
    spool_dir: Path | None = Field(
        None,
        description="Folder for work in progress (polished audio); empty: the system's temporary folder.",
    )
    r2_account_id: str = Field("", description="Cloudflare account; gives the R2 endpoint.")
    r2_access_key_id: str = Field("", description="R2 or S3 access key id.")
    r2_secret_access_key: SecretStr | None = Field(None, description="R2 or S3 secret access key.")
    r2_session_token: SecretStr | None = Field(
        None, description="Their session token, if they are temporary."
    )
    r2_bucket: str = Field("", description="Bucket of s3:// URLs that name none (s3:///prefix).")
    s3_endpoint_url: str = Field("", description="Endpoint of another S3-compatible store; wins over R2.")
    aws_access_key_id: str = Field("", description="As R2_ACCESS_KEY_ID, where no R2_ key is set.")
    aws_secret_access_key: SecretStr | None = Field(None, description="Its secret.")
    aws_session_token: SecretStr | None = Field(None, description="Its session token, if it is temporary.")
    aws_region: str = Field("", description="Region of the bucket; gives the endpoint of Amazon S3.")
    aws_default_region: str = Field("", description="The same, where AWS_REGION is not set.")
    aws_endpoint_url_s3: str = Field("", description="As S3_ENDPOINT_URL, for keys of AWS_ names.")
    aws_endpoint_url: str = Field("", description="The same, where AWS_ENDPOINT_URL_S3 is not set.")

    # ---- providers
    provider: ProviderName = Field("aistudio", description="Primary provider.")
    gemini_api_key: SecretStr | None = Field(None, description="Key of Google AI Studio.")
    gemini_base_url: HttpUrl = Field(
        "https://generativelanguage.googleapis.com", description="Base of the Gemini API."
    )
    gemini_api_version: str = Field("v1beta", pattern=r"^v\d+[a-z0-9]*$", description="Version in its path.")
    gemini_models_path: str = Field(
        "models",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        description="Where its models are; Vertex AI: publishers/google/models.",
    )
    openrouter_api_key: SecretStr | None = Field(None, description="Key of OpenRouter, the second provider.")
    openrouter_base_url: HttpUrl = Field(
        "https://openrouter.ai/api/v1", description="OpenRouter, or any OpenAI-compatible server."
    )
    model_id: str = Field("gemini-3-flash-preview", min_length=1, description="Model to ask.")
    cascade: str = Field(
        "",
        description="Models to ask one after another, `gemini-3.5-flash-lite,gemini-3-flash-preview`: what validation"
        " doubts of one goes up to the next. Takes the place of MODEL_ID.",
    )
    models_file: Path | None = Field(None, description="TOML file that overrides prices and capabilities.")
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="Sampling temperature; `default` leaves it to the model."
    )
    thinking_level: ThinkingLevel = Field("low", description="How much the model may think.")
    prompt_file: Path | None = Field(
        None,
        description="TOML file with instructions and a glossary of one's own, for all languages or single ones.",
    )
    answer: Literal["full", "lean"] = Field(
        "full",
        description="How the model writes its answer: `lean` says the same in half the tokens (docs/cost.md).",
    )
    request_timeout_seconds: float = Field(120.0, gt=0, le=3600, description="Deadline of one request.")

    # ---- service tier
    service_tier: TierName = Field(
        "standard", description="`flex`: half the price, answers in minutes; see providers.md."
    )
    flex_timeout_seconds: float = Field(
        1200.0, ge=1, le=7200, description="Deadline of one request at Flex, which waits for its turn there."
    )

    flex_patience: float | None = Field(
        None,
        gt=0,
        le=604_800,
        description="Seconds that a clip may wait for Flex; then it goes on at the standard tier. Empty: for ever.",
    )
    finish_by: str = Field(
        "",
        description="When the queue should be done, `2026-12-01T06:00+05:30` or `36h`: as few clips as it takes go"
        " on at the standard tier.",
    )

    # ---- when an answer does not come
    max_retries: int = Field(3, ge=0, le=20, description="Retries of a clip after failures that may pass.")
    retry_seconds: float = Field(
        10.0, ge=0.01, le=600, description="Wait before the first of them; then doubled, up to thirtyfold."
    )
    probe_seconds: float = Field(
        8.0, ge=0.01, le=600, description="Between probes of a service that pushes back or is away."
    )
    least_wait_seconds: float = Field(
        1.0,
        ge=0.01,
        le=60,
        description="Least wait, whatever the server says; doubled up to sixtyfold until an answer comes.",
    )

    # ---- the way there
    https_proxy: str = Field("", repr=False, description="Proxy for https:// addresses: http://host:port.")
    http_proxy: str = Field("", repr=False, description="Proxy for http:// addresses.")
    all_proxy: str = Field("", repr=False, description="Proxy where neither of the others is set.")
    no_proxy: str = Field(
        "", description="Hosts, domains and networks to reach without one; this machine always is."
    )
    ssl_cert_file: Path | None = Field(
        None, description="PEM file of the authorities to trust, in the place of the system's."
    )
    requests_ca_bundle: Path | None = Field(
        None, description="The same, as other tools call it; may be a folder."
    )

    # ---- batches
    worker_batch_size: int = Field(1000, ge=1, le=100_000, description="First attempts per batch window.")
    batch_interval_seconds: float = Field(60.0, gt=0, le=3600, description="Length of a batch window.")
    batch_launch: Literal["paced", "burst"] = Field(
        "paced", description="Spread launches over the window, or fire all at its start."
    )
    max_in_flight: int = Field(
        2000,
        ge=1,
        le=20_000,
        description="Requests in flight at most, per worker; with Flex 15,000 unless set.",
    )
    max_buffer_mb: int = Field(
        128, ge=8, le=65_536, description="Polished audio ahead of what is sent, per worker."
    )
    send_format: Literal["flac", "ogg", "wav"] = Field(
        "flac",
        description="How clips are sent: FLAC, Vorbis in Ogg (a third of the bytes, ten times the CPU), or WAV.",
    )
    ask_silence: bool = Field(
        False,
        description="Ask the model for clips in which nothing can be speech, too (`false`: NO_SPEECH, for nothing).",
    )
    worker_processes: int | None = Field(
        None,
        ge=0,
        le=256,
        description="Processes that polish; 0: none, for a worker a core; empty: one a core, up to 16.",
    )
    calibration_file: Path | None = Field(
        None,
        description="Rate limits learned by `lipika calibrate`, for this process alone; empty: see CALIBRATE.",
    )
    calibrate: Literal["auto", "off"] = Field(
        "auto",
        description="`auto`: the fleet learns its rate limits from its own corpus; `off`: those of lipika.",
    )
    calibrate_clips: int = Field(
        1000, ge=50, le=1_000_000, description="Sound clips of a language that its limits are learned from."
    )

    # ---- a second recogniser
    enable_gpu_validation: bool = Field(False, description="Compare answers with a second recogniser.")
    indicconformer_path: Path | None = Field(
        None, description="Folder with its bundle; empty: from the hub, at INDICCONFORMER_REVISION."
    )
    indicconformer_revision: str = Field(
        "",
        pattern=r"^([0-9a-f]{40})?$",
        description="Commit of the bundle on the hub, 40 hexadecimal digits.",
    )
    hf_token: SecretStr | None = Field(None, description="Token for the hub: the model is gated.")
    align_device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="`cuda` insists on a GPU; `auto` takes one where onnxruntime has CUDA."
    )
    align_threads: int = Field(0, ge=0, le=256, description="CPU threads for it; 0: a quarter of the cores.")
    align_seconds: float = Field(
        15.0, ge=1, le=600, description="A clip is compared within this time, or not at all."
    )
    align_romaniser: Literal["auto", "aksharamukha", "builtin"] = Field(
        "auto", description="For its comparison; `auto` takes aksharamukha where it is installed."
    )

    # ---- second opinions
    second_opinion: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of the clips that another model is asked for, besides those in doubt.",
    )
    second_opinion_model: str = Field(
        "", description="That model; workers ask it, too, and `vote` with `--ask`. Empty: nobody is asked."
    )
    second_opinion_provider: Literal["", "aistudio", "openrouter"] = Field(
        "", description="Who is asked for it; empty: PROVIDER."
    )
    second_opinion_usd: float = Field(
        5.0,
        gt=0,
        le=1_000_000,
        description="Dollars for it that all workers together may spend, and each `vote` with `--ask`, within the"
        " fleet's budgets.",
    )
    second_opinion_seconds: float = Field(
        15.0, ge=0, le=600, description="A video whose own answers are in waits no longer for it."
    )

    # ---- the fleet
    pay_again: bool = Field(
        False,
        description="Ask again what was paid for under other settings; else a worker holds such videos.",
    )
    worker_instance_id: str = Field(
        "", description="Name of this machine; empty: container label or hostname."
    )
    heartbeat_seconds: float = Field(10.0, gt=0, le=300, description="Between heartbeats.")
    live_seconds: float = Field(5.0, gt=0, le=300, description="Between live RPM/TPM updates and flushes.")
    lease_seconds: float = Field(120.0, gt=0, le=86_400, description="A claim not renewed this long is free.")
    max_attempts: int = Field(3, ge=1, le=100, description="Claims of one video before it is failed.")
    max_videos: int = Field(
        64, ge=1, le=1000, description="Videos held at a time, per worker; with Flex 1,000 unless set."
    )
    drain_seconds: float = Field(
        60.0,
        ge=0,
        le=7200,
        description="To finish answers in flight on SIGTERM; with Flex 1,260 unless set.",
    )
    health_file: Path | None = Field(
        None, description="File that a live worker touches every 5 s, for health checks; empty: none."
    )
    metrics_port: int = Field(0, ge=0, le=65_535, description="Prometheus metrics of a worker; 0: none.")
    metrics_host: str = Field("127.0.0.1", min_length=1, description="Address that METRICS_PORT listens on.")

    # ---- machines for rent
    vast_api_key: SecretStr | None = Field(
        None,
        description="Key of vast.ai, for `lipika deploy vast`; empty: the one its own command line keeps.",
    )
    vast_url: str = Field("", description="Base of its API, where it is another.")

    # ---- messages
    notify_url: SecretStr | None = Field(
        None,
        description="A webhook in Slack's form that is told of caps reached, providers parked, workers that died and"
        " the end of the queue, each once for the whole fleet; by workers and by the board.",
    )
    notify_name: str = Field("lipika", description="What such messages begin with.")

    # ---- the board
    dashboard_token: SecretStr | None = Field(
        None, description="What a person shows to see the board; needed where others can reach it."
    )
    dashboard_tokens: SecretStr | None = Field(
        None,
        description="People and what each shows: `name:role:token`, with commas between; roles are `reader`,"
        " `reviewer` and `operator`. DASHBOARD_TOKEN is that of one operator, named operator.",
    )
    dashboard_trusted_proxies: str = Field(
        "",
        description="Proxies before the board whose X-Forwarded-* headers are believed: addresses or networks,"
        " with commas between; empty: none.",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are asked for a clip, in order: those of CASCADE, else MODEL_ID alone."""
        return tuple(name.strip() for name in self.cascade.split(",")) if self.cascade else (self.model_id,)

    @property
    def has_aws_keys(self) -> bool:
        """True if the store's keys are those of AWS_ names; either set is used as a whole."""
        given = self.r2_access_key_id or self.r2_secret_access_key
        return not given and bool(self.aws_access_key_id or self.aws_secret_access_key)

    @property
    def real_provider(self) -> str:
        """PROVIDER; for the simulator the one whose wire it speaks."""
        return "aistudio" if self.provider == "simulator" else self.provider

    @property
    def other_provider(self) -> str:
        """The provider that is asked where the first one will not do, once its key is set."""
        return next(name for name in KEY_VARIABLES if name != self.real_provider)

    def key_of(self, provider: str) -> SecretStr | None:
        """The key of a provider that wants one; None while it is not set."""
        key: SecretStr | None = getattr(self, KEY_VARIABLES[provider].lower())
        return key

    @property
    def has_openrouter(self) -> bool:
        """True if OpenRouter itself is at its address, and not a gateway that speaks its wire."""
        host = urlsplit(self.openrouter_base_url).hostname or ""
        return host == "openrouter.ai" or host.endswith(".openrouter.ai")

    def secrets(self) -> list[str]:
        """Everything that must never be shown, as it could turn up in a text: as given and percent-decoded."""
        url = self.database_url.get_secret_value() if self.database_url else ""
        urls = (url, self.https_proxy, self.http_proxy, self.all_proxy)
        passwords = [password for one in urls if (password := _password(one))]
        given = (getattr(self, name) for name in type(self).model_fields)
        people = self.dashboard_tokens.get_secret_value() if self.dashboard_tokens else ""
        return [
            *(entry.split(":", 2)[-1].strip() for entry in re.split(r"[,\n]", people)),
            *passwords,
            *map(unquote, passwords),
            *(value.get_secret_value() for value in given if isinstance(value, SecretStr)),
        ]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls, file_secret_settings  # no secrets folder: the environment is the one source
        return init_settings, env_settings, dotenv_settings


def load_settings(**overrides: Any) -> Settings:
    """Read environment and `.env`; `overrides` (from the command line) win.

    Raises:
        SettingsError: one line for each wrong variable, naming it, its value and what is allowed.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    if "temperature" not in given and os.environ.get("TEMPERATURE", "").strip().lower() == "default":
        given["temperature"] = None
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None
    _refuse_contradiction(settings)
    settings = _apply_flex_defaults(_apply_cascade(settings))
    _check_together(settings)
    return settings


def change_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The same settings with some values changed, checked as those of the environment are.

    Raises:
        SettingsError: one line for each value that will not do.
    """
    before = {name: getattr(settings, name) for name in type(settings).model_fields}
    if "model_id" in changes:
        before["cascade"] = ""
    try:
        changed = Settings(**(before | dict(changes)))
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None
    changed = _apply_cascade(changed)
    _check_together(changed)
    return changed


FLEX_DEFAULTS: dict[str, float] = {"max_in_flight": 15_000, "max_videos": 1000, "drain_seconds": 1260.0}
"""In the place of the usual ones: 1,000 requests a minute that take a quarter of an hour, and a drain that waits for
the last of them."""


def _apply_flex_defaults(settings: Settings) -> Settings:
    if settings.service_tier != "flex":
        return settings
    given = settings.model_fields_set
    return settings.model_copy(
        update={name: value for name, value in FLEX_DEFAULTS.items() if name not in given}
    )


def plain_model(model_id: str) -> str:
    """The name of a model without its vendor's: `google/...` at OpenRouter, `models/...` at Google."""
    return model_id.strip().removeprefix("google/").removeprefix("models/")


def _refuse_contradiction(settings: Settings) -> None:
    """CASCADE is what is asked; MODEL_ID beside it may name one of its models, and no other."""
    names = [plain_model(name) for name in settings.models]
    if (
        settings.cascade
        and "model_id" in settings.model_fields_set
        and plain_model(settings.model_id) not in names
    ):
        raise SettingsError(
            f"MODEL_ID: {settings.model_id!r} will not do with CASCADE={settings.cascade}, which does not name it:"
            " CASCADE says which models are asked. Leave MODEL_ID out, or leave CASCADE empty to ask MODEL_ID alone"
        )


def _apply_cascade(settings: Settings) -> Settings:
    """MODEL_ID is the first model of a cascade."""
    return settings.model_copy(update={"model_id": settings.models[0]}) if settings.cascade else settings


def _check_cascade(settings: Settings) -> None:
    names = [plain_model(name) for name in settings.models]
    if "" in names:
        raise SettingsError(f"CASCADE: {settings.cascade!r} will not do: names of models with commas between")
    if len(names) < 2:
        raise SettingsError(
            f"CASCADE: {settings.cascade!r} names one model: name another one after it, or set MODEL_ID alone"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(
            f"CASCADE: {settings.cascade!r} names {twice} twice: a second time it would say the same"
        )


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
    secret = any(word in name for word in ("KEY", "SECRET", "TOKEN", "DATABASE_URL"))
    value = "the value given" if secret else repr(problem["input"])
    return f"{name}: {value} will not do: {problem['msg'].removeprefix('Value error, ')}"


_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])", re.IGNORECASE)
_PART_S = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def read_deadline(text: str, now: float) -> float:
    """Unix time of FINISH_BY: an ISO time, of this machine's time zone where it names none, or a duration from `now`.

    Raises:
        SettingsError: it is neither.
    """
    parts = _PART.findall(text)
    if parts and not _PART.sub("", text).strip(" PpTt,"):
        return now + sum(float(number) * _PART_S[unit.lower()] for number, unit in parts)
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise SettingsError(
            f"FINISH_BY: {text!r} will not do: a time such as 2026-12-01T06:00+05:30 is expected, or a duration such"
            " as 36h or 1d12h"
        ) from None


def _check_together(settings: Settings) -> None:
    """Rules over several settings: a lease must outlive three heartbeats, or live work would be reclaimed; and Flex
    sheds what comes in bursts."""
    if settings.cascade:
        _check_cascade(settings)
    if settings.finish_by:
        read_deadline(settings.finish_by, 0.0)
    if settings.service_tier == "flex" and settings.batch_launch == "burst":
        raise SettingsError(
            "BATCH_LAUNCH: 'burst' will not do with SERVICE_TIER=flex, which answers bursts with 503: set it to paced"
        )
    if settings.service_tier == "flex" and settings.provider == "openrouter" and not settings.has_openrouter:
        raise SettingsError(
            "SERVICE_TIER: 'flex' will not do with an OPENROUTER_BASE_URL other than OpenRouter's own: nobody knows"
            " the tiers of what answers there. Leave it at standard, or OPENROUTER_BASE_URL out"
        )
    if settings.lease_seconds < 3 * settings.heartbeat_seconds:
        raise SettingsError(
            f"LEASE_SECONDS: {settings.lease_seconds:g} will not do: at least three times HEARTBEAT_SECONDS"
            f" ({settings.heartbeat_seconds:g}) is needed, or a live worker's videos would be taken from it"
        )


def require_key(settings: Settings) -> str:
    """The primary provider's key.

    Raises:
        SettingsError: it is missing; names the variable and the way to go on without one.
    """
    simulated = settings.provider == "simulator"
    secret = SIMULATED_KEY if simulated else settings.key_of(settings.provider)
    if secret is None:
        raise SettingsError(
            f"{KEY_VARIABLES[settings.provider]} is not set: put it into the environment or .env, or try the whole"
            " flow without a key by adding --provider simulator"
        )
    return secret.get_secret_value()
