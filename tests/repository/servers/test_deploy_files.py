"""What ships lipika is valid by the rules of those who read it: images, compose, Kubernetes, shell, SkyPilot."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml
from typer.core import TyperGroup

from lipika.cli import main
from lipika.config import Settings, load_settings
from lipika.simulator.__main__ import _parser as simulator_parser
from places import KITS, ROOT

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


LOCKS = ("requirements.lock", "requirements-dev.lock", "deploy/image/build.lock", "deploy/image/cuda.lock")


def test_every_lock_is_installed_without_a_resolver_and_without_builds() -> None:
    """A complete lock needs neither, and with one of them it breaks by the passing of time."""
    installs = [
        (path, command)
        for path in _files()
        for command in re.findall(r"(?m)^.*\binstall\b.*-r \S+\.lock.*$", _joined(path))
        if path.parts[0] != "tests"
    ]
    assert {path.name for path, _ in installs} >= {"Dockerfile", "onstart.sh", "lipika.yaml"}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    installs.append((Path("Makefile"), re.findall(r"(?m)^LOCKED := (.*)$", makefile)[0]))
    for path, command in installs:
        assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(command.split()), (path, command)
    assert not re.findall(r"install .* -r ", makefile)
    for name in LOCKS:
        assert all("--hash=sha256:" in pin for pin in _pins(ROOT / name)), name


def test_the_build_back_end_is_locked_with_the_rest() -> None:
    build = dict(_versions(ROOT / "deploy" / "image" / "build.lock"))
    assert {"hatchling", "editables"} <= build.keys()
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert {name: build[name] for name, _ in _versions(ROOT / lock) if name in build}.items() <= dict(
            _versions(ROOT / lock)
        ).items()
    for path in ("Makefile", "Dockerfile", "deploy/vast/onstart.sh", "deploy/skypilot/lipika.yaml"):
        text = _joined(Path(path))
        builds = re.findall(r"(?m)^.*\b(?:install|wheel)\b.* (?:\.|-e \.)(?: .*)?$", text)
        assert builds, path
        assert all("--no-build-isolation" in command for command in builds), path


_INSTALLERS = re.compile(
    r"\b(?:pip[\d.]*|pipx|uv|uvx|poetry|pdm|conda|mamba|easy_install)\b[^`|;&]{0,80}?"
    r"\b(?:install|add|run|wheel|download|inject)\b(?P<named>[^`|;&]{0,200})"
)


def _bare(text: str) -> bool:
    """Whether somebody is told to install what the index has under our import's name."""
    return any(
        re.search(
            r"(?:(?<![\w./@-])|(?<=:-))lipika(?:\[[^\]]*\])?(?=$|[\s'\"}=<>~!),.](?![\w/]))", found["named"]
        )
        for found in _INSTALLERS.finditer(text)
    )


def _files() -> list[Path]:
    """Every file of the repository, relative to it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        found = [Path(name) for name in listed.stdout.split("\0") if name]
    else:  # an unpacked archive of it
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        found = [path for path in found if not path.parts[0].startswith(".venv")]
    return [path for path in found if (ROOT / path).is_file()]


def _joined(path: Path) -> str:
    """A file's text with continued lines, and strings that are split over lines, in one."""
    text = (ROOT / path).read_bytes().decode("utf-8", "replace")
    text = re.sub(r"\\\n\s*", " ", text)
    return re.sub(r"([\"'])\s*\n\s*[rbf]?\1", "", text)


def test_nobody_is_told_to_install_a_bare_lipika() -> None:
    """`lipika` on the package index is somebody else's project."""
    for path in _files():
        if path.suffix in {".lock", ".tar", ".flac", ".png", ".npz", ".parquet"}:
            continue
        text = _joined(path)
        lines = text.splitlines() if path.suffix in {".sh", ".yaml", ".yml", ""} else [" ".join(text.split())]
        assert not any(_bare(line) for line in lines), path
    assert 'name = "lipika-speech"' in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("pip install NAME", True),
        ("pip install 'NAME[hub]'", True),
        ("not installed; pip install 'NAME[aksharamukha]' (AGPL-3.0)", True),
        ('"$venv/bin/pip" install --quiet "${LIPIKA_PACKAGE:-NAME}"', True),
        ("uv pip install -q NAME==0.1", True),
        ("pipx install --force NAME.", True),
        ("uv tool install NAME", True),
        ("pip install NAME-speech", False),
        ("pip install 'NAME-speech[hub]'", False),
        ("pip install /src/NAME/dist/NAME-1.whl", False),
        ("uv pip install --python ~/NAME --no-deps .", False),
        ("`pip install vastai`, then `NAME deploy vast`", False),
    ],
)
def test_what_counts_as_telling_somebody_to_install(text: str, bare: bool) -> None:
    assert _bare(text.replace("NAME", "lipika")) == bare  # spelt so, this file is looked through, too


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
    schema = json.loads((KITS / "vendor" / "compose-spec" / "compose-spec.json").read_text("utf-8"))
    jsonschema.validate(compose, schema, jsonschema.Draft201909Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**compose, "servcies": {}}, schema, jsonschema.Draft201909Validator)


def test_compose_is_a_whole_fleet(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for profile in ("simulated", "real"):
        started = {name for name, each in services.items() if profile in each.get("profiles", [profile])}
        for name in started:
            assert set(services[name].get("depends_on", {})) <= started, (
                f"{name} waits for what is not started"
            )
        commands = {services[name].get("command", [""])[0] for name in started}
        assert {"db", "queue", "worker", "dashboard"} <= commands, profile
        assert ("simulator" in commands) is (profile == "simulated")
    assert services["worker"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
        assert re.fullmatch(r"\S+:(?!latest)\S+", service["image"]), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} opens {port} to everybody"


def test_a_real_fleet_has_no_made_up_part_and_its_results_in_a_folder(compose: dict[str, Any]) -> None:
    for name in ("real-fill", "real-worker", "real-dashboard"):
        service = compose["services"][name]
        assert "/results" in {volume.rpartition(":")[2] for volume in service["volumes"]}, name
        assert not service["environment"].keys() & {"GEMINI_BASE_URL", "S3_ENDPOINT_URL"}, name
        assert service["environment"].get("GEMINI_API_KEY", "") != "simulated", name
    worker = compose["services"]["real-worker"]
    assert worker["environment"]["OUTPUT_URL"] == "file:///results"
    assert worker["environment"]["GEMINI_API_KEY"] == "${GEMINI_API_KEY:-}"
    assert worker["stop_grace_period"] == compose["services"]["worker"]["stop_grace_period"]


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


START = DEPLOY / "vast" / "onstart.sh"


class _Rented:
    """A rented machine as its start script sees it: the environment of PID 1, its output, and vast.ai's API."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.venv, self.log = folder / "venv", folder / "lipika.log"
        self.asked: list[tuple[str, str | None, bytes]] = []
        self._pid1, self._tools, self._environ = folder / "pid1", folder / "tools", environ
        (self._pid1 / "fd").mkdir(parents=True)
        self._tools.mkdir()
        self._tool("sleep", "exit 0")
        self._tool("setpriv", 'shift 3; exec "$@"')

    def _tool(self, name: str, line: str) -> None:
        (self._tools / name).write_text(f"#!/bin/bash\n{line}\n")
        (self._tools / name).chmod(0o755)

    def install(self, worker: str) -> None:
        """lipika is here already; its worker is this line of shell."""
        (self.venv / "bin").mkdir(parents=True)
        (self.venv / "whole").touch()
        # A link would be the Python below this environment, with packages of its own or none.
        for name, line in {"python": f'exec {shlex.quote(sys.executable)} "$@"', "lipika": worker}.items():
            (self.venv / "bin" / name).write_text(f"#!/bin/bash\n{line}\n")
            (self.venv / "bin" / name).chmod(0o755)

    def start(self) -> subprocess.CompletedProcess[bytes]:
        """Runs the script to its end."""
        rented = self

        class Vast(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                rented.asked.append((self.path, self.headers["Authorization"], body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                return

        lines = {"CONTAINER_ID": "1234567", "CONTAINER_API_KEY": "its-own", **self._environ}
        environ = b"".join(f"{name}={value}\0".encode() for name, value in lines.items())
        (self._pid1 / "environ").write_bytes(environ)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Vast)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ours = {
            "PATH": f"{self._tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),  # for the python of `install`
            "PIP_NO_INDEX": "1",
            "LIPIKA_LOG": str(self.log),
            "LIPIKA_PID1": str(self._pid1),
            "LIPIKA_VENV": str(self.venv),
            "LIPIKA_VAST": f"http://127.0.0.1:{server.server_port}",
        }
        try:
            return subprocess.run(["bash", START], env=ours, timeout=120)
        finally:
            server.shutdown()
            server.server_close()

    def gave_up(self, reason: str) -> None:
        """It ended, said why where a person looks, and stopped the machine."""
        assert self.start().returncode == 1
        for file in (self.log, self._pid1 / "fd" / "1"):
            assert re.search(f"lipika: .*{reason}.* This machine stops", file.read_text()), file.read_text()
        assert self.asked == [("/api/v0/instances/1234567/", "Bearer its-own", b'{"state": "stopped"}')]


def test_the_start_script_takes_over_every_setting_and_nothing_else(tmp_path: Path) -> None:
    value = "two words\nand a line; $(id)"
    taken = SETTINGS | {"VAST_CONTAINERLABEL", "HTTPS_PROXY", "SSL_CERT_FILE"}
    left = dict.fromkeys(["HOME", "SSH_KEY", "XMODEL_ID", "LD_PRELOAD"], "nothing")
    machine = _Rented(tmp_path, **dict.fromkeys(taken, value), **left, LIPIKA_PACKAGE="/nowhere")
    seen = tmp_path / "seen"
    machine.install(f"env -0 >{seen}; exit 2")
    machine.gave_up("a setting is wrong")
    found = dict(line.split("=", 1) for line in seen.read_bytes().decode().split("\0") if line)
    assert {name for name, text in found.items() if text == value} == taken
    assert found["CONTAINER_ID"] == "1234567"
    assert not found.keys() & (left.keys() | {"CONTAINER_API_KEY"})


def test_a_rented_machine_whose_install_fails_says_so_and_stops(tmp_path: Path) -> None:
    archive = tmp_path / "lipika.tar.gz"
    archive.write_bytes(b"somebody else's")
    checkout = tmp_path / "checkout"
    (checkout / "deploy" / "image").mkdir(parents=True)
    (checkout / "deploy" / "image" / "build.lock").write_text("")
    (checkout / "requirements.lock").write_text(f"nothing==1 --hash=sha256:{'0' * 64}\n")
    for name, package, reason in (
        ("none", None, "LIPIKA_PACKAGE does not say"),
        ("bare", "lipika", "installation failed"),
        ("unhashed", archive.as_uri(), "installation failed"),
        ("replaced", f"{archive.as_uri()}#sha256={'0' * 64}", "installation failed"),
        ("broken", str(checkout), "installation failed"),
    ):
        machine = _Rented(tmp_path / name, **({"LIPIKA_PACKAGE": package} if package else {}))
        machine.gave_up(reason)
        assert not (machine.venv / "whole").exists()


@pytest.mark.parametrize(
    ("worker", "reason"),
    [("exit 127", "ended five times"), ("exit 3", "ended five times"), ("exit 0", "told to end")],
)
def test_a_rented_machine_whose_worker_cannot_work_stops(tmp_path: Path, worker: str, reason: str) -> None:
    machine = _Rented(tmp_path, LIPIKA_PACKAGE="/nowhere")
    machine.install(f"echo started; {worker}")
    machine.gave_up(reason)
    assert machine.log.read_text().count("started") == (5 if "five" in reason else 1)


def test_the_start_script_is_no_longer_than_vast_takes() -> None:
    assert len(START.read_text("utf-8")) <= 4048


def test_containers_are_started_with_commands_that_exist(compose: dict[str, Any]) -> None:
    ours = [service for service in compose["services"].values() if service["image"].startswith("lipika")]
    calls = [service["command"] for service in ours]
    calls += [container["args"] for pod in _pods() for container in pod["containers"]]
    assert len(calls) == 11
    for words in calls:
        command: Any = typer.main.get_command(main.app)
        rest = list(words)
        while isinstance(command, TyperGroup):
            command, rest = command.get_command(command.context_class(command), rest[0]), rest[1:]
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


def test_prometheus_reaches_what_the_monitors_name() -> None:
    """A monitor's pods and ports exist, the policy lets them be asked, and workers listen there beyond loopback."""
    pods = {
        part["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: part["spec"][
            "template"
        ]
        for part in documents(*KUBERNETES)
        if part["kind"] == "Deployment"
    }
    (policy,) = (part for part in documents(*KUBERNETES) if part["metadata"]["name"] == "lipika-metrics")
    (rule,) = policy["spec"]["podSelector"]["matchExpressions"]
    (ingress,) = policy["spec"]["ingress"]
    allowed = {port["port"] for port in ingress["ports"]}
    monitored = set()
    for monitor in documents(DEPLOY / "kubernetes" / "monitoring" / "podmonitors.yaml"):
        assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
        component = monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        assert component in rule["values"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        ports = [port for each in pods[component]["spec"]["containers"] for port in each["ports"]]
        assert endpoint["port"] in {port["name"] for port in ports} & allowed
        monitored.add(component)
    assert monitored == set(rule["values"]) == {"worker", "dashboard"}
    (worker,) = pods["worker"]["spec"]["containers"]
    given = {variable["name"]: variable.get("value") for variable in worker["env"]}
    assert given["METRICS_HOST"] == "0.0.0.0"  # noqa: S104 - in the pod's own network, behind the policy
    assert [port["containerPort"] for port in worker["ports"]] == [int(given["METRICS_PORT"] or 0)]


WIND_UP_S = 30
"""After a drain: what is nearly packed is stored (4 s), the last rows and answers are written, videos given back."""


@pytest.mark.parametrize("tier", ["standard", "flex"])
def test_what_stops_a_worker_waits_longer_than_its_drain(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    """At whichever tier these very files are set to: their own settings, with the other tier in its place."""
    config = next(part for part in documents(*KUBERNETES) if part["kind"] == "ConfigMap")
    pod = next(pod for pod in _pods() if pod["containers"][0]["name"] == "worker")
    service = compose["services"]["worker"]
    assert "SERVICE_TIER" in config["data"].keys() & service["environment"].keys()
    for granted, given in (
        (pod["terminationGracePeriodSeconds"], config["data"]),
        (float(service["stop_grace_period"].removesuffix("s")), service["environment"]),
    ):
        with monkeypatch.context() as patched:
            for name in given.keys() & {"DRAIN_SECONDS", "FLEX_TIMEOUT_SECONDS", "REQUEST_TIMEOUT_SECONDS"}:
                patched.setenv(name, given[name])
            settings = load_settings(service_tier=tier)
        assert granted >= settings.drain_seconds + WIND_UP_S, tier
        longest_s = settings.flex_timeout_seconds if tier == "flex" else 0.0
        assert settings.drain_seconds >= longest_s, "an answer may come after the drain has given up on it"


def test_the_guide_names_the_same_figures_as_the_files(compose: dict[str, Any]) -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    pod = next(pod for pod in _pods() if pod["containers"][0]["name"] == "worker")
    seconds = pod["terminationGracePeriodSeconds"]
    assert f"{seconds}s" == compose["services"]["worker"]["stop_grace_period"]
    assert f"docker stop --time {seconds}" in guide
    assert f"waits up to {seconds:,} s" in guide
    task = yaml.safe_load((ROOT / "deploy" / "skypilot" / "lipika.yaml").read_text("utf-8"))
    assert "SERVICE_TIER" in task["envs"]
