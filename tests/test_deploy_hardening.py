"""What is deployed may do little: nobody is root, images are pinned, the unit is closed; real tools take the files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from tests.deploy_files import (
    CONTAINER,
    DEPLOY,
    DOCKERFILE,
    KUBERNETES,
    POD,
    REPLICAS,
    ROOT,
    SERVICES,
    UNIT,
    image_instructions,
    name_of,
    read_yaml,
    unit_values,
)

import pairscore
from pairscore import errors
from pairscore.cli.exits import EXIT_CODES
from pairscore.service.settings import ENV_PREFIX


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
    (user,) = [rest for word, rest in image_instructions() if word == "USER"]
    number, group = user.split(":")

    assert int(number) > 0
    assert {SERVICES[name]["user"] for name in REPLICAS} == {user}
    context = POD["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(number), int(group))
    assert f"-o {number} -g {group}" in DOCKERFILE


def test_images_are_pinned() -> None:
    """Each has a version; ours is the package's."""
    bases = [rest.split()[0] for word, rest in image_instructions() if word == "FROM"]
    images = [SERVICES[name]["image"] for name in SERVICES]
    ours = f"pairscore:{pairscore.__version__}"

    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", image) for image in [*bases, *images])
    assert len(set(bases)) == 1
    assert {image for image in images if image.startswith("pairscore:")} == {ours}
    assert ours in DOCKERFILE
    assert f"ARG VERSION={pairscore.__version__}" in DOCKERFILE
    (pinned,) = read_yaml("kubernetes/kustomization.yaml")["images"]
    assert (pinned["name"], str(pinned["newTag"])) == (CONTAINER["image"], pairscore.__version__)


def test_the_image_starts_the_process_itself() -> None:
    """Exec form everywhere, so that SIGTERM reaches the service and not a shell."""
    commands = {word: rest for word, rest in image_instructions() if word in ("ENTRYPOINT", "CMD")}
    (check,) = [rest for word, rest in image_instructions() if word == "HEALTHCHECK"]

    assert json.loads(commands["ENTRYPOINT"]) + json.loads(commands["CMD"]) == [
        "pairscore",
        "serve",
    ]
    compile(json.loads(check.partition("CMD ")[2])[2], "<healthcheck>", "exec")


def test_the_image_holds_what_was_tested() -> None:
    """It is built with the constraints, from files that are there and that the build may see."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [rest.split()[:-1] for word, rest in image_instructions() if word == "COPY"]
    local = [name for names in copied for name in names if not names[0].startswith("--")]
    (install,) = [
        rest for word, rest in image_instructions() if word == "RUN" and " install " in rest
    ]

    assert "-c constraints.txt" in install
    assert "[serve,redis,otel]" in install
    assert "*" in allowed
    for name in local:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, line[1:]) for line in allowed if line.startswith("!")), name


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

    assert {key: unit_values(key)[0] for key in wanted} == wanted


def test_the_unit_gives_up_where_a_restart_cannot_help() -> None:
    """The exit codes of wrong settings, of models that are not there, and of missing packages."""
    hopeless = (errors.SettingError, errors.ModelOfflineError, errors.ModelError)

    (listed,) = unit_values("RestartPreventExitStatus")

    assert [int(code) for code in listed.split()] == [EXIT_CODES[kind] for kind in hopeless]


def test_the_unit_checks_first() -> None:
    """Its first command is one that the command line has, and passes with the unit's own file of settings."""
    (command,) = unit_values("ExecStartPre")
    (start,) = unit_values("ExecStart")

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
@pytest.mark.parametrize("folder", [KUBERNETES, KUBERNETES / "monitoring"], ids=name_of)
def test_kustomize_takes_the_folder(folder: Path) -> None:
    """It renders, into our namespace, with our image."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True
    )

    documents = [entry for entry in yaml.safe_load_all(done.stdout) if entry["kind"] != "Namespace"]
    assert documents
    assert {entry["metadata"]["namespace"] for entry in documents} == {"pairscore"}
    assert ("image: pairscore:" in done.stdout) == (folder == KUBERNETES)
