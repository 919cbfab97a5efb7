import re
from pathlib import Path

import pytest

from lipika.config import Settings, change_settings, load_settings, require_key
from lipika.engine.pacing import Backoff, Probing
from lipika.engine.retries import RetryPolicy
from lipika.errors import SettingsError
from lipika.jobs.wiring import engine_options, probing
from lipika.log import hide, redact
from lipika.services import store_settings
from places import ROOT


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_plans() -> None:
    settings = load_settings()
    assert (settings.provider, settings.model_id) == ("aistudio", "gemini-3-flash-preview")
    assert (settings.worker_batch_size, settings.batch_interval_seconds) == (1000, 60)
    assert (settings.temperature, settings.thinking_level) == (0.0, "low")


def test_the_engine_waits_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert engine_options(settings).retry == RetryPolicy()
    assert probing(settings) == Probing()
    for name, value in (
        ("MAX_RETRIES", "2"),
        ("RETRY_SECONDS", "0.1"),
        ("PROBE_SECONDS", "0.2"),
        ("LEAST_WAIT_SECONDS", "0.05"),
    ):
        monkeypatch.setenv(name, value)
    settings = load_settings()
    retry = engine_options(settings).retry
    assert (retry.max_retries, retry.backoff) == (2, Backoff(0.1, 30 * 0.1))
    assert probing(settings) == Probing(0.2, 0.05, 60 * 0.05)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("WORKER_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("PROVIDER", "vertex", "'aistudio', 'openrouter' or 'simulator'"),
        ("GEMINI_BASE_URL", "ftp://x", "http:// or https://"),
        ("TEMPERATURE", "hot", "valid number"),
        ("BATCH_LAUNCH", "slow", "'paced' or 'burst'"),
    ],
)
def test_a_wrong_value_names_variable_value_and_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert name in str(error.value)
    assert repr(value) in str(error.value)
    assert allowed in str(error.value)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hunter2hunter2@host/db")
    with pytest.raises(SettingsError, match="postgresql://") as error:
        load_settings()
    assert "hunter2" not in str(error.value)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2hunter2@host/db")
    monkeypatch.setenv("GEMINI_API_KEY", "AIzaHunter2Hunter2")
    assert "unter2" not in repr(load_settings())


def test_a_lease_shorter_than_three_heartbeats_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASE_SECONDS", "20")
    with pytest.raises(SettingsError, match=r"LEASE_SECONDS.*HEARTBEAT_SECONDS"):
        load_settings()


def test_a_missing_key_names_the_variable_and_the_way_without_one() -> None:
    with pytest.raises(SettingsError, match=r"GEMINI_API_KEY.*--provider simulator"):
        require_key(load_settings())
    assert require_key(load_settings(provider="simulator"))


def test_dotenv_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MODEL_ID=from-file\nMAX_ATTEMPTS=7\n")
    monkeypatch.setenv("MODEL_ID", "from-environment")
    settings = load_settings()
    assert (settings.model_id, settings.max_attempts) == ("from-environment", 7)


def test_a_cascade_takes_the_place_of_the_model() -> None:
    settings = load_settings(cascade="gemini-3.5-flash-lite, google/gemini-3-flash-preview")
    assert settings.models == ("gemini-3.5-flash-lite", "google/gemini-3-flash-preview")
    assert settings.model_id == "gemini-3.5-flash-lite"
    assert load_settings(model_id="a").models == ("a",)
    named = load_settings(cascade="a,b", model_id="google/b")
    assert (named.models, named.model_id) == (("a", "b"), "a")
    assert change_settings(named, {"model_id": "c"}).models == ("c",), "an arm of a canary asks one model"
    assert change_settings(settings, {"cascade": "c,d"}).models == ("c", "d")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"cascade": "a,b", "model_id": "c"},
            r"MODEL_ID: 'c' will not do with CASCADE=a,b.*Leave MODEL_ID out",
        ),
        ({"cascade": "a"}, r"CASCADE: 'a' names one model"),
        ({"cascade": "a,google/a"}, r"names a twice"),
        ({"cascade": "a,,b"}, r"names of models with commas between"),
    ],
)
def test_a_cascade_that_will_not_do_says_why(given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings(**given)


def test_temperature_default_leaves_it_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPERATURE", "default")
    assert load_settings().temperature is None


def test_the_stores_keys_are_one_set_or_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "an-id",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_SESSION_TOKEN": "a-token",
        "AWS_DEFAULT_REGION": "ap-south-1",
    }.items():
        monkeypatch.setenv(name, value)
    amazon = store_settings(load_settings())
    assert (amazon.access_key_id, amazon.secret_access_key, amazon.session_token) == (
        "an-id",
        "a-secret",
        "a-token",
    )
    assert (amazon.endpoint, amazon.region, amazon.variables) == (
        "https://s3.ap-south-1.amazonaws.com",
        "ap-south-1",
        "AWS",
    )
    assert {"a-token", "a-secret"} <= set(load_settings().secrets())
    assert store_settings(load_settings(aws_region="cn-north-1")).endpoint.endswith(".amazonaws.com.cn")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example")
    assert store_settings(load_settings()).endpoint == "https://minio.example"
    assert (
        store_settings(load_settings(s3_endpoint_url="https://other.example")).endpoint
        == "https://other.example"
    )
    own = store_settings(load_settings(r2_access_key_id="own", r2_account_id="abc"))
    assert (own.access_key_id, own.secret_access_key, own.session_token) == ("own", "", "")
    assert (own.endpoint, own.region) == ("https://abc.r2.cloudflarestorage.com", "auto")


def test_the_template_documents_every_setting_and_no_other() -> None:
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.template").read_text(), re.MULTILINE))
    assert named == {name.upper() for name in Settings.model_fields}


def test_the_template_shows_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"^#([A-Z])", r"\1", (ROOT / ".env.template").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(text)
    assert load_settings() == Settings(_env_file=None)


def test_secrets_are_blotted_out_of_any_text_whatever_they_look_like() -> None:
    settings = load_settings(
        database_url="postgresql://lipika:p%40ss-word@db.example/lipika",
        r2_secret_access_key="0123456789abcdef",
    )
    hide(*settings.secrets())
    assert "hf_" + "A" * 20 not in redact("401 for hf_" + "A" * 20)
    said = redact("SignatureDoesNotMatch for 0123456789abcdef; password p@ss-word or p%40ss-word refused")
    assert said == "SignatureDoesNotMatch for ***; password *** or *** refused"


@pytest.mark.parametrize(
    ("provider", "real", "other"),
    [
        ("aistudio", "aistudio", "openrouter"),
        ("openrouter", "openrouter", "aistudio"),
        ("simulator", "aistudio", "openrouter"),
    ],
)
def test_each_provider_has_another_to_turn_to(provider: str, real: str, other: str) -> None:
    settings = load_settings(provider=provider, openrouter_api_key="or-key")
    assert (settings.real_provider, settings.other_provider) == (real, other)
    key = settings.key_of("openrouter")
    assert key is not None
    assert (key.get_secret_value(), settings.key_of("aistudio")) == ("or-key", None)
