"""What ships lipika is valid by the rules of those who read it: images, compose, Kubernetes, shell, SkyPilot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml
from typer.core import TyperGroup

from lipika import cli
from lipika.config import Settings
from lipika.simulator.__main__ import _parser as simulator_parser

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
KUBERNETES = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.stem != "kustomization")
HEALTHY = DEPLOY / "image" / "healthy.sh"
SETTINGS = {name.upper() for name in Settings.model_fields}


def documents(*paths: Path) -> list[dict[str, Any]]:
    return [document for path in paths for document in yaml.safe_load_all(path.read_text("utf-8"))]


def checked(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


# ----------------------------------------------------------------------------- the image


def test_hadolint_finds_nothing() -> None:
    checked(BIN / "hadolint", "Dockerfile")


def test_shellcheck_finds_nothing() -> None:
    scripts = sorted(DEPLOY.rglob("*.sh"))
    assert HEALTHY in scripts
    checked(BIN / "shellcheck", *scripts)


def test_the_image_runs_without_rights_from_pinned_parts() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(r"(?m)^USER \d+:\d+$", text)
    assert not re.search(r"(?m)^(COPY|ADD) .*\.env", text)
    for name in re.findall(r"(?m)-r (\S+\.lock)", text):
        path = ROOT / name if (ROOT / name).exists() else DEPLOY / "image" / name
        assert all("--hash=sha256:" in pin for pin in _pins(path)), path
    assert len(re.findall(r"-r \S+\.lock", text)) == 3
    installs = re.findall(r"pip\b.* install (.+?)(?: \\|$)", text, re.MULTILINE)
    assert len(installs) == 4
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def test_the_images_pins_agree_with_the_project() -> None:
    """What the GPU image adds may not move what the project has pinned."""
    pinned = dict(_versions(ROOT / "requirements.lock"))
    for name, version in _versions(DEPLOY / "image" / "cuda.lock"):
        assert pinned.get(name, version) == version


def _pins(path: Path) -> list[str]:
    return re.split(r"\n(?=\S)", path.read_text("utf-8").strip())


def _versions(path: Path) -> Iterator[tuple[str, str]]:
    for pin in _pins(path):
        name, _, version = pin.split()[0].partition("==")
        if ";" not in pin.split("--hash")[0] or "python_full_version < '3.12'" in pin:
            yield name, version


def test_nothing_but_the_sources_goes_into_a_build() -> None:
    first, *kept = [
        line
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    copied = re.findall(r"(?m)^COPY (?!--from)(?:--\S+ )*(.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"))
    for source in " ".join(copied).split():
        assert (ROOT / source).exists()
        assert any(
            f"!{source}".startswith(rule.rstrip("/")) or rule.startswith(f"!{source}/") for rule in kept
        )
    assert "**/.env*" in kept


@pytest.mark.parametrize(
    ("age_s", "word", "code"),
    [(None, None, 0), (None, "started", 1), (1, None, 0), (1, "started", 0), (600, None, 1)],
)
def test_the_health_check_looks_at_the_file(
    tmp_path: Path, age_s: float | None, word: str | None, code: int
) -> None:
    file = tmp_path / "alive"
    if age_s is not None:
        file.touch()
        then = time.time() - age_s
        os.utime(file, (then, then))
    done = subprocess.run(
        [str(HEALTHY), *([word] if word else [])], env={**os.environ, "HEALTH_FILE": str(file)}
    )
    assert done.returncode == code


# ----------------------------------------------------------------------------- compose


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    (document,) = documents(ROOT / "docker-compose.yml")
    return document


def test_compose_is_valid_by_its_schema(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests" / "vendor" / "compose-spec" / "compose-spec.json").read_text("utf-8"))
    jsonschema.validate(compose, schema, jsonschema.Draft201909Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**compose, "servcies": {}}, schema, jsonschema.Draft201909Validator)


def test_compose_is_a_whole_fleet(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"postgres", "store", "simulator", "worker", "dashboard", "migrate"} <= services.keys()
    assert services["worker"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
        assert re.fullmatch(r"\S+:(?!latest)\S+", service["image"]), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} opens {port} to everybody"
    seconds = int(services["worker"]["stop_grace_period"].rstrip("s"))
    assert seconds > Settings().drain_seconds


def test_compose_and_kubernetes_name_settings_that_exist(compose: dict[str, Any]) -> None:
    ours = [service for service in compose["services"].values() if service["image"].startswith("lipika")]
    named = {name for service in ours for name in service["environment"]}
    config = next(part for part in documents(*KUBERNETES) if part["kind"] == "ConfigMap")
    named |= config["data"].keys()
    for pod in _pods():
        for container in pod["containers"]:
            named |= {variable["name"] for variable in container.get("env", ())}
    assert named <= SETTINGS


def test_skypilot_takes_secrets_from_the_environment_and_names_settings_that_exist() -> None:
    (task,) = documents(DEPLOY / "skypilot" / "lipika.yaml")
    assert task["envs"].keys() | task["secrets"].keys() <= SETTINGS
    assert set(task["secrets"].values()) == {None}
    assert not any(re.search("KEY|TOKEN|DATABASE", name) for name in task["envs"])


def test_the_start_script_takes_over_every_setting_and_nothing_else(tmp_path: Path) -> None:
    """Its loop, on an environment of ours in place of the container's."""
    script = (DEPLOY / "vast" / "onstart.sh").read_text("utf-8")
    (loop,) = re.findall(r"(?ms)^while IFS=.*?^done </proc/1/environ$", script)
    taken = SETTINGS | {"VAST_CONTAINERLABEL", "CONTAINER_ID", "LIPIKA_PACKAGE"}
    value = "two words\nand a line; $(id)"
    environ = tmp_path / "environ"
    environ.write_bytes(
        b"".join(f"{name}={value}\0".encode() for name in [*taken, "HOME", "SSH_KEY", "XMODEL_ID"])
    )
    done = subprocess.run(
        ["bash", "-euc", loop.replace("/proc/1/environ", str(environ)) + "\nenv -0"],
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    found = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: found[name] for name in found.keys() - {"PATH", "PWD", "SHLVL", "_"}} == dict.fromkeys(
        taken, value
    )


def test_containers_are_started_with_commands_that_exist(compose: dict[str, Any]) -> None:
    ours = [service for service in compose["services"].values() if service["image"].startswith("lipika")]
    calls = [service["command"] for service in ours]
    calls += [container["args"] for pod in _pods() for container in pod["containers"]]
    assert len(calls) == 8
    for words in calls:
        command: Any = typer.main.get_command(cli.app)
        rest = list(words)
        while isinstance(command, TyperGroup):
            command, rest = command.commands[rest[0]], rest[1:]
        if command.name == "simulator":
            simulator_parser().parse_args(rest)
        else:
            command.make_context(command.name, rest)


# ----------------------------------------------------------------------------- Kubernetes


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_manifests_are_valid(path: Path) -> None:
    parts = documents(path)
    assert parts
    for part in parts:
        kubernetes_validate.validate(part, kubernetes_validate.latest_version(), strict=True)


def test_a_wrong_manifest_would_be_noticed() -> None:
    (job,) = documents(DEPLOY / "kubernetes" / "migrate.yaml")
    job["spec"]["backofLimit"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, kubernetes_validate.latest_version(), strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    (kustomization,) = documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == [path.name for path in KUBERNETES]


def _pods() -> Iterator[dict[str, Any]]:
    for part in documents(*KUBERNETES):
        if part["kind"] in {"Deployment", "Job"}:
            yield part["spec"]["template"]["spec"]


def test_pods_have_no_rights_and_no_secrets_in_the_open() -> None:
    pods = list(_pods())
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"]
            assert not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            for variable in container.get("env", ()):
                assert "value" not in variable or not re.search("KEY|TOKEN|URL", variable["name"])
    assert not any(part["kind"] == "Secret" for part in documents(*KUBERNETES))


def test_pods_have_time_to_drain() -> None:
    config = next(part for part in documents(*KUBERNETES) if part["kind"] == "ConfigMap")
    worker = next(pod for pod in _pods() if pod["containers"][0]["name"] == "worker")
    assert worker["terminationGracePeriodSeconds"] >= float(config["data"]["DRAIN_SECONDS"]) + 20
