"""What deploy/ tells a cluster holds for the program itself: it takes the settings, and answers where it is asked."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.deploy_files import (
    CONTAINER,
    DEPLOY,
    POD,
    PROBES,
    SERVICES,
    effective_setting,
    image_environment,
    read_yaml,
)
from tests.e2e.serving import Served, ends_well, serving

from pairscore.service.settings import ENV_PREFIX

DEPLOYMENT = read_yaml("kubernetes/deployment.yaml")
AUTOSCALER = read_yaml("kubernetes/hpa.yaml")["spec"]


def _environment(folder: Path, *, where: str) -> dict[str, str]:
    """A container's variables, with this machine's folders for the mounted ones."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys.toml"
    keys.write_text(read_yaml("kubernetes/secret.example.yaml")["stringData"]["keys.toml"])
    keys.chmod(0o600)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return {
        **clean,
        **image_environment(),
        f"{ENV_PREFIX}CACHE_DIR": str(folder),
        f"{ENV_PREFIX}CONFIG": str(DEPLOY / where / "config.toml"),
        f"{ENV_PREFIX}KEYS_FILE": str(keys),
    }


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_the_program_takes_the_settings(where: str, tmp_path: Path) -> None:
    """`pairscore serve --check` with the image's variables, the file of settings and a file of keys."""
    given = {name for name, in_pod in _given(where).items() if in_pod}
    assert given == {f"{ENV_PREFIX}CONFIG", f"{ENV_PREFIX}KEYS_FILE"}

    done = subprocess.run(
        [sys.executable, "-m", "pairscore", "serve", "--check"],
        env=_environment(tmp_path, where=where),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr


def _given(where: str) -> dict[str, str]:
    """The variables that the manifest itself sets."""
    if where == "compose":
        found: dict[str, str] = SERVICES["pairscore-1"]["environment"]
        return found
    return {entry["name"]: entry["value"] for entry in CONTAINER["env"]}


def test_what_the_settings_name_is_mounted() -> None:
    """The file of settings and that of keys lie in volumes, and so does whatever is written."""
    mounted = [Path(mount["mountPath"]) for mount in CONTAINER["volumeMounts"]]
    volumes = {volume["name"] for volume in POD["volumes"]}
    named = [Path(value) for value in _given("kubernetes").values()]

    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == volumes
    assert all(path.parent in mounted for path in named)
    assert Path(image_environment()[f"{ENV_PREFIX}CACHE_DIR"]) in mounted
    # Only scratch may be written; the rest of the file system is read-only.
    closed = {Path(m["mountPath"]) for m in CONTAINER["volumeMounts"] if m.get("readOnly")}
    assert closed == {path.parent for path in named}


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service as a pod starts it, but for its port and its weights."""
    folder = tmp_path_factory.mktemp("pod")
    environment = _environment(folder / "mounted", where="kubernetes")
    # An option wins over the variable; the port is one that is free here.
    with serving("--backend", "fake", log=folder / "serve.log", env=environment) as served:
        yield served
        ends_well(served)


@pytest.mark.slow
@pytest.mark.parametrize("probe", PROBES, ids=["startup", "liveness", "readiness"])
def test_probes_are_answered(pod: Served, probe: dict[str, str]) -> None:
    """Without a key, as the kubelet asks."""
    assert httpx.get(f"{pod.base}{probe['path']}", timeout=10).status_code == 200


@pytest.mark.slow
def test_who_has_no_key_gets_nothing_else(pod: Served) -> None:
    """So the probes do not show that everything is open."""
    body = {"text_a": "a", "text_b": "b"}

    assert httpx.post(f"{pod.base}/score", json=body, timeout=10).status_code == 401


@pytest.mark.slow
def test_the_autoscalers_number_is_told(pod: Served) -> None:
    """Under the name that it asks for, without a key, as Prometheus asks; and it is a number."""
    (monitored,) = read_yaml("kubernetes/monitoring/servicemonitor.yaml")["spec"]["endpoints"]
    (gauge,) = [
        entry["pods"]["metric"]["name"]
        for entry in AUTOSCALER["metrics"]
        if entry["type"] == "Pods"
    ]

    told = httpx.get(f"{pod.base}{monitored['path']}", timeout=10).text

    (value,) = [line.split()[-1] for line in told.splitlines() if line.startswith(gauge)]
    assert float(value) >= 0


def test_the_sleep_before_the_end_is_a_program_of_the_image() -> None:
    """Without a shell; and the probes notice nothing, because the service serves on meanwhile."""
    command = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]

    assert command[0] == "sleep"
    assert subprocess.run([command[0], "0"], check=False).returncode == 0
    assert float(command[1]) > 0


def test_a_pod_that_ends_is_waited_for() -> None:
    """The sleep, then as long as the service may take; a request that ran out of time has ended by then."""
    sleep_s = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    grace_s = effective_setting("kubernetes/config.toml", "grace_s")

    assert POD["terminationGracePeriodSeconds"] >= sleep_s + grace_s


def test_the_start_is_waited_for() -> None:
    """A pod that has not started within the probe's patience is ended, and a rollout gives up after that only."""
    probe = CONTAINER["startupProbe"]

    patience_s = probe["periodSeconds"] * probe["failureThreshold"]

    assert patience_s >= 60
    assert DEPLOYMENT["spec"]["progressDeadlineSeconds"] > patience_s


def test_somebody_always_serves() -> None:
    """During a rollout, while a node is drained, and at the autoscaler's least."""
    budget = read_yaml("kubernetes/pdb.yaml")["spec"]
    rollout = DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]

    assert AUTOSCALER["minReplicas"] > budget["maxUnavailable"]
    assert AUTOSCALER["minReplicas"] <= AUTOSCALER["maxReplicas"]
    assert (rollout["maxUnavailable"], rollout["maxSurge"] > 0) == (0, True)
    # The autoscaler has that number.
    assert "replicas" not in DEPLOYMENT["spec"]


def test_the_autoscaler_scales_the_deployment() -> None:
    """By kind, version and name."""
    target = AUTOSCALER["scaleTargetRef"]

    assert (target["apiVersion"], target["kind"]) == (DEPLOYMENT["apiVersion"], DEPLOYMENT["kind"])
    assert target["name"] == DEPLOYMENT["metadata"]["name"]
    # A share of the processors means nothing without a request for them.
    assert "cpu" in CONTAINER["resources"]["requests"]


def test_composes_check_of_a_replica_runs() -> None:
    """It is Python, and says by its status whether the replica is ready; here nobody listens."""
    _, *command = SERVICES["pairscore-1"]["healthcheck"]["test"]
    assert command[0] == "python", shlex.join(command)

    done = subprocess.run(
        [sys.executable, *command[1:-1], command[-1].replace("8000", "1")],
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert done.returncode != 0
    assert b"ConnectionRefusedError" in done.stderr
