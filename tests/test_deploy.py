"""The files of deploy/ agree with the code and with each other: settings, paths, ports, times, and nobody is root."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from starlette.testclient import TestClient

import pairscore
from pairscore import errors
from pairscore.cli.exits import EXIT_CODES
from pairscore.service import server
from pairscore.service.app import create_app
from pairscore.service.check import check
from pairscore.service.key_files import parse_file
from pairscore.service.settings import ENV_PREFIX, ServiceSettings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
YAML = [path for path in FILES if path.suffix in (".yaml", ".yml")]
CONFIGS = sorted(DEPLOY.rglob("config.toml"))
DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text(encoding="utf-8")
NGINX = (DEPLOY / "compose/nginx.conf").read_text(encoding="utf-8")
UNIT = (DEPLOY / "systemd/pairscore.service").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REPLICAS = ("pairscore-1", "pairscore-2")
KUBERNETES = DEPLOY / "kubernetes"
POD: dict[str, Any] = yaml.safe_load((KUBERNETES / "deployment.yaml").read_text("utf-8"))["spec"][
    "template"
]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]
PROBES = [
    CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
]
START_S = 60.0


def _name(path: Path) -> str:
    return path.relative_to(DEPLOY).as_posix()


def _toml(path: str) -> dict[str, Any]:
    return tomllib.loads((DEPLOY / path).read_text(encoding="utf-8"))


def _yaml(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))
    return content


def _effective(path: str, name: str) -> Any:
    """A setting as the service takes it: from the file, or its default."""
    return _toml(path).get(name, ServiceSettings.model_fields[name].default)


def _seconds(text: str) -> float:
    units = {"": 1, "s": 1, "m": 60}
    number, unit = re.fullmatch(r"(\d+)([sm]?)", text).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def _directive(name: str) -> str:
    """The one value of a directive of nginx."""
    (value,) = re.findall(rf"^\s*{name} ([^;]+);", NGINX, re.MULTILINE)
    return str(value)


def _of_unit(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, comments out and continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(part[0].upper(), part[1].strip()) for part in parts]


def _environment(text: str) -> dict[str, str]:
    return dict(re.findall(r"([A-Z_]+)=(\S+)", text))


def _image_environment() -> dict[str, str]:
    """What the final image sets."""
    last = max(n for n, (word, _) in enumerate(_instructions()) if word == "FROM")
    texts = [rest for word, rest in _instructions()[last:] if word == "ENV"]
    return _environment(" ".join(texts))


@pytest.fixture(scope="module")
def paths() -> set[str]:
    """Every path that the service has."""
    return set(create_app(ServiceSettings(backend="fake")).openapi()["paths"])


@pytest.mark.parametrize("path", YAML, ids=_name)
def test_yaml_is_yaml(path: Path) -> None:
    """Every document of it can be read, and says something."""
    assert all(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_config_files_are_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key is a setting, and every value one that the service takes."""
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    values = tomllib.loads(path.read_text(encoding="utf-8"))

    settings = ServiceSettings(**values)

    assert {name: getattr(settings, name) for name in values} == values
    # What contradicts something else, or the machine, is refused here.
    check(settings)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_variables_are_settings(path: Path) -> None:
    """Whatever begins with PAIRSCORE_ is a setting, or names the file of settings."""
    named = set(re.findall(rf"\b{ENV_PREFIX}([A-Z_]+)\b", path.read_text(encoding="utf-8")))

    assert {name.lower() for name in named} <= {*ServiceSettings.model_fields, "config"}


def test_settings_in_comments_are_settings_too() -> None:
    """An example that somebody uncomments must be one that the service takes."""
    for path in CONFIGS:
        commented = re.findall(r"^# ([a-z_]+) = ", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(commented) <= set(ServiceSettings.model_fields), _name(path)


@pytest.mark.parametrize("path", ["compose/config.toml", "kubernetes/config.toml"])
def test_no_config_file_is_overruled_by_the_image(path: str) -> None:
    """A variable of the image wins over the file, so what it sets would be a lie there."""
    fixed = {name.removeprefix(ENV_PREFIX).lower() for name in _image_environment()}

    assert not fixed & set(_toml(path))


def test_probes_ask_paths_that_exist(paths: set[str]) -> None:
    """Docker's, Compose's and Kubernetes' checks, the load balancer's, and Prometheus'."""
    checks = "\n".join(str(SERVICES[name]["healthcheck"]["test"]) for name in SERVICES)
    asked = {probe["path"] for probe in PROBES}
    asked |= set(re.findall(r"'GET', '(/[a-z]+)'", DOCKERFILE + checks.replace('"', "'")))
    asked |= set(re.findall(r"http://127\.0\.0\.1:\d+(/[a-z]+)", checks))
    monitor = _yaml("kubernetes/monitoring/servicemonitor.yaml")
    asked |= {endpoint["path"] for endpoint in monitor["spec"]["endpoints"]}
    asked |= set(re.findall(r"location = (/\S+)", NGINX))

    assert asked == {"/livez", "/readyz", "/metrics"}
    assert asked <= paths


def test_ports_agree() -> None:
    """One port from the image to the load balancer and the pods' Service."""
    port = int(_image_environment()[f"{ENV_PREFIX}PORT"])
    exposed = [int(rest) for word, rest in _instructions() if word == "EXPOSE"]
    service = _yaml("kubernetes/service.yaml")["spec"]["ports"][0]
    upstreams = re.findall(r"server (\S+):(\d+) resolve", NGINX)

    assert exposed == [port]
    assert [entry["containerPort"] for entry in CONTAINER["ports"]] == [port]
    assert service["targetPort"] == CONTAINER["ports"][0]["name"]
    assert service["port"] == port
    assert {probe["port"] for probe in PROBES} == {CONTAINER["ports"][0]["name"]}
    assert upstreams == [(name, str(port)) for name in REPLICAS]
    for name in REPLICAS:
        assert f"'127.0.0.1', {port}" in SERVICES[name]["healthcheck"]["test"][-1]
    (published,) = SERVICES["load-balancer"]["ports"]
    assert published.split(":")[-1] == _directive("listen")


def test_whoever_ends_the_service_waits_long_enough() -> None:
    """Longer than the service takes to answer what is under way, and to write the answers."""
    ends_s = {
        name: _effective(f"{name}/config.toml", "grace_s") + server._LAST_WORDS_S
        for name in ("compose", "systemd", "kubernetes")
    }
    (sleep_s,) = CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1:]

    for name in REPLICAS:
        assert _seconds(SERVICES[name]["stop_grace_period"]) > ends_s["compose"]
    assert _seconds(_of_unit("TimeoutStopSec")[0]) > ends_s["systemd"]
    assert POD["terminationGracePeriodSeconds"] > int(sleep_s) + ends_s["kubernetes"]


def test_the_load_balancers_limits_follow_the_services() -> None:
    """It waits longer than the service, takes as large a body, and closes idle connections first."""
    config = "compose/config.toml"
    read_s = _seconds(_directive("proxy_read_timeout"))
    again_s = _seconds(_directive("proxy_next_upstream_timeout"))
    # The client's, then the replicas'.
    kept_s = [_seconds(text) for text in re.findall(r"\skeepalive_timeout (\w+);", NGINX)]

    assert read_s > _effective(config, "timeout_s")
    assert _seconds(_directive("client_body_timeout")) == _effective(config, "body_timeout_s")
    size = _directive("client_max_body_size")
    assert int(size.removesuffix("m")) * 1024 * 1024 == _effective(config, "max_body_bytes")
    assert f"{_effective(config, 'max_body_bytes'):,}" in NGINX
    assert min(kept_s) < uvicorn.Config(app="").timeout_keep_alive
    # A client that waits 90 s, as the page advises, is never the first to give up.
    assert again_s + read_s < 90
    assert _seconds(SERVICES["load-balancer"]["stop_grace_period"]) > again_s + read_s


def test_only_what_is_safe_is_sent_again() -> None:
    """Scoring may be sent twice; a replica that is full is not relieved by filling the next one."""
    cases = _directive("proxy_next_upstream").split()

    assert {"error", "http_503", "non_idempotent"} <= set(cases)
    assert "http_429" not in cases
    assert int(_directive("proxy_next_upstream_tries")) == len(REPLICAS)


@pytest.mark.parametrize("name", SERVICES)
def test_containers_of_compose_may_do_little(name: str) -> None:
    """Not root, nothing written but scratch, no capability, no way to more, and a bound on memory."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["tmpfs"]
    assert {"mem_limit", "pids_limit", "healthcheck", "stop_grace_period"} <= set(service)


def test_pods_may_do_little() -> None:
    """What the restricted profile asks for, and a file system that is read-only."""
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] > 0
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_no_pod_gets_variables_of_services() -> None:
    """A Service called pairscore would set PAIRSCORE_PORT to an address, and no pod would start."""
    assert POD["enableServiceLinks"] is False


def test_one_user_owns_what_is_written() -> None:
    """The image's user is Compose's and Kubernetes'."""
    (user,) = [rest for word, rest in _instructions() if word == "USER"]
    number, group = user.split(":")

    assert int(number) > 0
    assert {SERVICES[name]["user"] for name in REPLICAS} == {user}
    context = POD["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(number), int(group))
    assert f"-o {number} -g {group}" in DOCKERFILE


def test_images_are_pinned() -> None:
    """Each has a version; ours is the package's."""
    bases = [rest.split()[0] for word, rest in _instructions() if word == "FROM"]
    images = [SERVICES[name]["image"] for name in SERVICES]
    ours = f"pairscore:{pairscore.__version__}"

    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", image) for image in [*bases, *images])
    assert len(set(bases)) == 1
    assert {image for image in images if image.startswith("pairscore:")} == {ours}
    assert ours in DOCKERFILE
    assert f"ARG VERSION={pairscore.__version__}" in DOCKERFILE
    (pinned,) = _yaml("kubernetes/kustomization.yaml")["images"]
    assert (pinned["name"], str(pinned["newTag"])) == (CONTAINER["image"], pairscore.__version__)


def test_the_image_starts_the_process_itself() -> None:
    """Exec form everywhere, so that SIGTERM reaches the service and not a shell."""
    commands = {word: rest for word, rest in _instructions() if word in ("ENTRYPOINT", "CMD")}
    (check,) = [rest for word, rest in _instructions() if word == "HEALTHCHECK"]

    assert json.loads(commands["ENTRYPOINT"]) + json.loads(commands["CMD"]) == [
        "pairscore",
        "serve",
    ]
    compile(json.loads(check.partition("CMD ")[2])[2], "<healthcheck>", "exec")


def test_the_image_holds_what_was_tested() -> None:
    """It is built with the constraints, from files that are there and that the build may see."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [rest.split()[:-1] for word, rest in _instructions() if word == "COPY"]
    local = [name for names in copied for name in names if not names[0].startswith("--")]
    (install,) = [rest for word, rest in _instructions() if word == "RUN" and " install " in rest]

    assert "-c constraints.txt" in install
    assert "[serve,redis,otel]" in install
    assert "*" in allowed
    for name in local:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, line[1:]) for line in allowed if line.startswith("!")), name


def test_nothing_reaches_out() -> None:
    """No model hub, and none of the telemetry that ONNX Runtime has built in."""
    unit = _environment(" ".join(_of_unit("Environment")))

    for environment in (_image_environment(), unit):
        assert environment["HF_HUB_OFFLINE"] == "1"
        assert environment["ORT_DISABLE_TELEMETRY"] == "1"


def test_workers_are_as_many_as_processors() -> None:
    """Where time is limited by quota, the number of workers says the same."""
    limits, requests = (CONTAINER["resources"][name] for name in ("limits", "requests"))

    for name in REPLICAS:
        assert SERVICES[name]["cpus"] == _toml("compose/config.toml")["num_workers"]
    assert limits == requests
    assert int(limits["cpu"]) == _toml("kubernetes/config.toml")["num_workers"]


def test_the_autoscaler_asks_for_a_number_that_exists() -> None:
    """The gauge of the service, the adapter's rule and the autoscaler have one name."""
    with TestClient(create_app(ServiceSettings(backend="fake"))) as client:
        exposed = client.get("/metrics").text
    metrics = _yaml("kubernetes/hpa.yaml")["spec"]["metrics"]
    (gauge,) = [entry["pods"]["metric"]["name"] for entry in metrics if entry["type"] == "Pods"]
    (rule,) = _yaml("kubernetes/monitoring/prometheus-adapter-rules.yaml")["rules"]["custom"]

    assert f"# TYPE {gauge} gauge" in exposed
    assert rule["name"]["as"] == gauge
    assert gauge in rule["seriesQuery"]
    assert gauge in rule["metricsQuery"]


def test_selectors_find_the_pods() -> None:
    """Whatever selects pods of ours selects them by the label that they have."""
    spec = _yaml("kubernetes/deployment.yaml")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selectors = [
        spec["selector"]["matchLabels"],
        _yaml("kubernetes/service.yaml")["spec"]["selector"],
        _yaml("kubernetes/pdb.yaml")["spec"]["selector"]["matchLabels"],
        _yaml("kubernetes/networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
        _yaml("kubernetes/monitoring/servicemonitor.yaml")["spec"]["selector"]["matchLabels"],
        *(entry["labelSelector"]["matchLabels"] for entry in POD["topologySpreadConstraints"]),
    ]

    assert all(selector == labels for selector in selectors)


def test_the_example_of_a_secret_holds_a_file_of_keys() -> None:
    """It can be read as one, and opens nothing: its hash is that of an empty key."""
    secret = _yaml("kubernetes/secret.example.yaml")
    (mounted,) = [entry["secret"] for entry in POD["volumes"] if "secret" in entry]

    (key,) = parse_file(secret["stringData"]["keys.toml"], where="keys.toml")

    assert key.digest.hex().startswith("e3b0c44298fc1c14")
    assert mounted["secretName"] == secret["metadata"]["name"]


def test_the_unit_is_closed() -> None:
    """No user of its own, no new privileges, nothing written but its cache, and no code written at all."""
    wanted = {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "CapabilityBoundingSet": "",
        "MemoryDenyWriteExecute": "yes",
        "CacheDirectory": "pairscore",
        "KillSignal": "SIGTERM",
        "Restart": "on-failure",
        "ExecReload": "/bin/kill -HUP $MAINPID",
    }

    assert {key: _of_unit(key)[0] for key in wanted} == wanted


def test_the_unit_gives_up_where_a_restart_cannot_help() -> None:
    """The exit codes of wrong settings, of models that are not there, and of missing packages."""
    hopeless = (errors.SettingError, errors.ModelOfflineError, errors.ModelError)

    (listed,) = _of_unit("RestartPreventExitStatus")

    assert [int(code) for code in listed.split()] == [EXIT_CODES[kind] for kind in hopeless]


def test_the_unit_checks_first() -> None:
    """Its first command is one that the command line has, and passes with the unit's own file of settings."""
    (command,) = _of_unit("ExecStartPre")
    (start,) = _of_unit("ExecStart")

    done = subprocess.run(
        [sys.executable, "-m", *command.split("/bin/")[-1].split()],
        env={**os.environ, f"{ENV_PREFIX}CONFIG": str(DEPLOY / "systemd/config.toml")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert command == f"{start} --check"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Every line is one that it knows."""
    unit = tmp_path / "pairscore.service"
    # The program is not installed here.
    unit.write_text(UNIT.replace("/opt/pairscore/bin/pairscore", "/bin/true"), encoding="utf-8")

    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
@pytest.mark.parametrize("folder", [KUBERNETES, KUBERNETES / "monitoring"], ids=_name)
def test_kustomize_takes_the_folder(folder: Path) -> None:
    """It renders, into our namespace, with our image."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True
    )

    documents = [entry for entry in yaml.safe_load_all(done.stdout) if entry["kind"] != "Namespace"]
    assert documents
    assert {entry["metadata"]["namespace"] for entry in documents} == {"pairscore"}
    assert ("image: pairscore:" in done.stdout) == (folder == KUBERNETES)
