"""The files of deploy/ agree with the code and with each other: settings, paths, ports and times."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import uvicorn
import yaml
from starlette.testclient import TestClient
from tests.deploy_files import (
    CONFIGS,
    CONTAINER,
    DOCKERFILE,
    FILES,
    NGINX,
    POD,
    PROBES,
    REPLICAS,
    SERVICES,
    YAML,
    effective_setting,
    image_environment,
    image_instructions,
    name_of,
    nginx_directive,
    read_toml,
    read_yaml,
    seconds_of,
    unit_values,
    variables_in,
)

from pairscore.service import server
from pairscore.service.app import create_app
from pairscore.service.check import check
from pairscore.service.key_files import parse_file
from pairscore.service.settings import ENV_PREFIX, ServiceSettings


@pytest.fixture(scope="module")
def paths() -> set[str]:
    """Every path that the service has."""
    return set(create_app(ServiceSettings(backend="fake")).openapi()["paths"])


@pytest.mark.parametrize("path", YAML, ids=name_of)
def test_yaml_is_yaml(path: Path) -> None:
    """Every document of it can be read, and says something."""
    assert all(yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_files_are_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key is a setting, and every value one that the service takes."""
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    values = tomllib.loads(path.read_text(encoding="utf-8"))

    settings = ServiceSettings(**values)

    assert {name: getattr(settings, name) for name in values} == values
    # What contradicts something else, or the machine, is refused here.
    check(settings)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_variables_are_settings(path: Path) -> None:
    """Whatever begins with PAIRSCORE_ is a setting, or names the file of settings."""
    named = set(re.findall(rf"\b{ENV_PREFIX}([A-Z_]+)\b", path.read_text(encoding="utf-8")))

    assert {name.lower() for name in named} <= {*ServiceSettings.model_fields, "config"}


def test_settings_in_comments_are_settings_too() -> None:
    """An example that somebody uncomments must be one that the service takes."""
    for path in CONFIGS:
        commented = re.findall(r"^# ([a-z_]+) = ", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(commented) <= set(ServiceSettings.model_fields), name_of(path)


@pytest.mark.parametrize("path", ["compose/config.toml", "kubernetes/config.toml"])
def test_no_config_file_is_overruled_by_the_image(path: str) -> None:
    """A variable of the image wins over the file, so what it sets would be a lie there."""
    fixed = {name.removeprefix(ENV_PREFIX).lower() for name in image_environment()}

    assert not fixed & set(read_toml(path))


def test_probes_ask_paths_that_exist(paths: set[str]) -> None:
    """Docker's, Compose's and Kubernetes' checks, the load balancer's, and Prometheus'."""
    checks = "\n".join(str(SERVICES[name]["healthcheck"]["test"]) for name in SERVICES)
    asked = {probe["path"] for probe in PROBES}
    asked |= set(re.findall(r"'GET', '(/[a-z]+)'", DOCKERFILE + checks.replace('"', "'")))
    asked |= set(re.findall(r"http://127\.0\.0\.1:\d+(/[a-z]+)", checks))
    monitor = read_yaml("kubernetes/monitoring/servicemonitor.yaml")
    asked |= {endpoint["path"] for endpoint in monitor["spec"]["endpoints"]}
    asked |= set(re.findall(r"location = (/\S+)", NGINX))

    assert asked == {"/livez", "/readyz", "/metrics"}
    assert asked <= paths


def test_ports_agree() -> None:
    """One port from the image to the load balancer and the pods' Service."""
    port = int(image_environment()[f"{ENV_PREFIX}PORT"])
    exposed = [int(rest) for word, rest in image_instructions() if word == "EXPOSE"]
    service = read_yaml("kubernetes/service.yaml")["spec"]["ports"][0]
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
    assert published.split(":")[-1] == nginx_directive("listen")


def test_whoever_ends_the_service_waits_long_enough() -> None:
    """Longer than the service takes to answer what is under way, and to write the answers."""
    ends_s = {
        name: effective_setting(f"{name}/config.toml", "grace_s") + server._LAST_WORDS_S
        for name in ("compose", "systemd", "kubernetes")
    }
    (sleep_s,) = CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1:]

    for name in REPLICAS:
        assert seconds_of(SERVICES[name]["stop_grace_period"]) > ends_s["compose"]
    assert seconds_of(unit_values("TimeoutStopSec")[0]) > ends_s["systemd"]
    assert POD["terminationGracePeriodSeconds"] > int(sleep_s) + ends_s["kubernetes"]


def test_the_load_balancers_limits_follow_the_services() -> None:
    """It waits longer than the service, takes as large a body, and closes idle connections first."""
    config = "compose/config.toml"
    read_s = seconds_of(nginx_directive("proxy_read_timeout"))
    again_s = seconds_of(nginx_directive("proxy_next_upstream_timeout"))
    # The client's, then the replicas'.
    kept_s = [seconds_of(text) for text in re.findall(r"\skeepalive_timeout (\w+);", NGINX)]

    assert read_s > effective_setting(config, "timeout_s")
    assert seconds_of(nginx_directive("client_body_timeout")) == effective_setting(
        config, "body_timeout_s"
    )
    size = nginx_directive("client_max_body_size")
    assert int(size.removesuffix("m")) * 1024 * 1024 == effective_setting(config, "max_body_bytes")
    assert f"{effective_setting(config, 'max_body_bytes'):,}" in NGINX
    assert min(kept_s) < uvicorn.Config(app="").timeout_keep_alive
    # A client that waits 90 s, as the page advises, is never the first to give up.
    assert again_s + read_s < 90
    assert seconds_of(SERVICES["load-balancer"]["stop_grace_period"]) > again_s + read_s


def test_only_what_is_safe_is_sent_again() -> None:
    """Scoring may be sent twice; a replica that is full is not relieved by filling the next one."""
    cases = nginx_directive("proxy_next_upstream").split()

    assert {"error", "http_503", "non_idempotent"} <= set(cases)
    assert "http_429" not in cases
    assert int(nginx_directive("proxy_next_upstream_tries")) == len(REPLICAS)


def test_nothing_reaches_out() -> None:
    """No model hub, and none of the telemetry that ONNX Runtime has built in."""
    unit = variables_in(" ".join(unit_values("Environment")))

    for environment in (image_environment(), unit):
        assert environment["HF_HUB_OFFLINE"] == "1"
        assert environment["ORT_DISABLE_TELEMETRY"] == "1"


def test_workers_are_as_many_as_processors() -> None:
    """Where time is limited by quota, the number of workers says the same."""
    limits, requests = (CONTAINER["resources"][name] for name in ("limits", "requests"))

    for name in REPLICAS:
        assert SERVICES[name]["cpus"] == read_toml("compose/config.toml")["num_workers"]
    assert limits == requests
    assert int(limits["cpu"]) == read_toml("kubernetes/config.toml")["num_workers"]


def test_the_autoscaler_asks_for_a_number_that_exists() -> None:
    """The gauge of the service, the adapter's rule and the autoscaler have one name."""
    with TestClient(create_app(ServiceSettings(backend="fake"))) as client:
        exposed = client.get("/metrics").text
    metrics = read_yaml("kubernetes/hpa.yaml")["spec"]["metrics"]
    (gauge,) = [entry["pods"]["metric"]["name"] for entry in metrics if entry["type"] == "Pods"]
    (rule,) = read_yaml("kubernetes/monitoring/prometheus-adapter-rules.yaml")["rules"]["custom"]

    assert f"# TYPE {gauge} gauge" in exposed
    assert rule["name"]["as"] == gauge
    assert gauge in rule["seriesQuery"]
    assert gauge in rule["metricsQuery"]


def test_selectors_find_the_pods() -> None:
    """Whatever selects pods of ours selects them by the label that they have."""
    spec = read_yaml("kubernetes/deployment.yaml")["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selectors = [
        spec["selector"]["matchLabels"],
        read_yaml("kubernetes/service.yaml")["spec"]["selector"],
        read_yaml("kubernetes/pdb.yaml")["spec"]["selector"]["matchLabels"],
        read_yaml("kubernetes/networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
        read_yaml("kubernetes/monitoring/servicemonitor.yaml")["spec"]["selector"]["matchLabels"],
        *(entry["labelSelector"]["matchLabels"] for entry in POD["topologySpreadConstraints"]),
    ]

    assert all(selector == labels for selector in selectors)


def test_the_example_of_a_secret_holds_a_file_of_keys() -> None:
    """It can be read as one, and opens nothing: its hash is that of an empty key."""
    secret = read_yaml("kubernetes/secret.example.yaml")
    (mounted,) = [entry["secret"] for entry in POD["volumes"] if "secret" in entry]

    (key,) = parse_file(secret["stringData"]["keys.toml"], where="keys.toml")

    assert key.digest.hex().startswith("e3b0c44298fc1c14")
    assert mounted["secretName"] == secret["metadata"]["name"]
