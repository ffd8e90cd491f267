"""The files of deploy/, read once, and what they say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from pairscore.service.settings import ServiceSettings

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


def name_of(path: Path) -> str:
    """Its name in a report."""
    return path.relative_to(DEPLOY).as_posix()


def read_toml(path: str) -> dict[str, Any]:
    """A file of settings."""
    return tomllib.loads((DEPLOY / path).read_text(encoding="utf-8"))


def read_yaml(path: str) -> dict[str, Any]:
    """A file of one document."""
    content: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))
    return content


def effective_setting(path: str, name: str) -> Any:
    """A setting as the service takes it: from the file, or its default."""
    return read_toml(path).get(name, ServiceSettings.model_fields[name].default)


def seconds_of(text: str) -> float:
    """A time as nginx, compose and systemd write it."""
    units = {"": 1, "s": 1, "m": 60}
    number, unit = re.fullmatch(r"(\d+)([sm]?)", text).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def nginx_directive(name: str) -> str:
    """The one value of a directive of nginx."""
    (value,) = re.findall(rf"^\s*{name} ([^;]+);", NGINX, re.MULTILINE)
    return str(value)


def unit_values(key: str) -> list[str]:
    """The values of a key of the unit."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def image_instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, comments out and continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(part[0].upper(), part[1].strip()) for part in parts]


def variables_in(text: str) -> dict[str, str]:
    """Variables and their values."""
    return dict(re.findall(r"([A-Z_]+)=(\S+)", text))


def image_environment() -> dict[str, str]:
    """What the final image sets."""
    last = max(n for n, (word, _) in enumerate(image_instructions()) if word == "FROM")
    texts = [rest for word, rest in image_instructions()[last:] if word == "ENV"]
    return variables_in(" ".join(texts))
