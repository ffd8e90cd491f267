"""What each start of the service checks first, and what `pairscore serve --check` prints.

The model's settings refuse a value that makes no sense by itself; here they are held against each other and against
the machine: files, cores, packages. No model is loaded and no address is bound.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import tomlkit
from tomlkit import TOMLDocument

from pairscore.config import DEFAULT_BUDGET, num_cores
from pairscore.errors import MissingExtraError, SettingError
from pairscore.models.catalog import DEFAULT_MODEL, find
from pairscore.models.resolve import check_name
from pairscore.retrieval.milvus_place import is_milvus
from pairscore.service.fields import Setting, option, variable
from pairscore.service.fleet_specs import specs_of
from pairscore.service.keys import KeyRing
from pairscore.service.settings import EVERYBODY, SETTINGS, ServiceSettings, unknown_variables
from pairscore.service.shadow_plan import plan_of

__all__ = ["as_toml", "check"]

_MEASURED: Final = ("num_workers", "budget")
_NEEDS: Final = {
    "encoder": "index",
    "cache_dir": "autotune",
    "cache_ttl_s": "cache_bytes",
    "service_name": "otlp_endpoint",
    "shadow_share": "shadow_model",
    "shadow_file": "shadow_model",
    "shadow_file_bytes": "shadow_file",
}
_OTEL: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def check(settings: ServiceSettings) -> tuple[str, ...]:
    """Refuse settings that contradict each other or the machine.

    Returns:
        What is allowed and yet looks like a mistake, a sentence each.

    Raises:
        SettingError: contradictions, all of them.
        ModelNotFoundError: the model's name can be none.
        MissingExtraError: a setting needs a package that is not installed.
    """
    contradictions = [
        *_limits(settings),
        *_workers(settings),
        *_access(settings),
        *_cache(settings),
    ]
    if contradictions:
        raise SettingError("\n".join(contradictions))
    specs = specs_of(settings)
    plan_of(settings, specs)
    for spec in specs:
        if spec.place is not None:
            check_name(spec.place)
    if settings.bi_encoder is not None:
        check_name(settings.bi_encoder)
    _check_extras(settings)
    return (*_odd_numbers(settings), *_odd_doors(settings), *_idle(settings), *unknown_variables())


def _limits(settings: ServiceSettings) -> Iterator[str]:
    yield from _above(settings, "max_chars", "max_body_bytes", "no body could hold such a text")
    yield from _above(settings, "max_pairs", "max_body_bytes", "no body could hold so many pairs")
    yield from _above(settings, "budget", "max_queue_tokens", "not one whole micro-batch would fit")
    if settings.calibration is not None and not settings.calibration.is_file():
        yield (
            f"calibration is {str(settings.calibration)!r}; there is no such file; "
            f"set it with {option('calibration')}"
        )


def _workers(settings: ServiceSettings) -> Iterator[str]:
    if settings.autotune and not any(_is_measured(settings, name) for name in _MEASURED):
        yield (
            "autotune is on and both num_workers and budget are given; nothing is left to measure; "
            f"leave out {option('autotune')}, {option('num_workers')} or {option('budget')}"
        )
    if settings.cache_dir is not None and (reason := _unusable(settings.cache_dir)):
        yield (
            f"cache_dir is {str(settings.cache_dir)!r}; it cannot be used: {reason}; "
            f"set it with {option('cache_dir')}"
        )


def _access(settings: ServiceSettings) -> Iterator[str]:
    if settings.keys_file is not None and settings.keys_file.is_fifo():
        yield (
            f"keys_file is {str(settings.keys_file)!r}; it is a pipe, and keys are read more than once; "
            f"give a file with {option('keys_file')}"
        )
        return
    try:
        KeyRing(
            keys_file=settings.keys_file,
            api_keys=settings.api_keys.get_secret_value() if settings.api_keys else None,
        )
    except SettingError as error:
        yield str(error)
    yield from _control(settings)
    if not settings.public_metrics and not _has_keys(settings):
        yield (
            "public_metrics is off and there are no keys; everybody could read /metrics all the same; "
            f"set keys with {option('keys_file')}, or leave out {option('public_metrics')}"
        )


def _control(settings: ServiceSettings) -> Iterator[str]:
    names = settings.controllers
    if EVERYBODY in names and len(names) > 1:
        yield (
            f"model_control is {settings.model_control!r}; {EVERYBODY} is every request already, and the names say "
            f"otherwise; give {EVERYBODY} alone, or the names, with {option('model_control')}"
        )
    elif names and EVERYBODY not in names and not _has_keys(settings):
        yield (
            f"model_control is {settings.model_control!r} and there are no keys; nobody could be told apart; "
            f"set keys with {option('keys_file')}, let every request with {EVERYBODY}, or leave out "
            f"{option('model_control')}"
        )


def _cache(settings: ServiceSettings) -> Iterator[str]:
    if settings.redis_url is not None and settings.cache_bytes == 0:
        yield (
            "redis_url is set and cache_bytes is 0; a Redis is asked only where scores are kept; "
            f"raise {option('cache_bytes')}, or leave out {option('redis_url')}"
        )


def _above(settings: ServiceSettings, name: str, other: str, reason: str) -> Iterator[str]:
    """One setting may not be larger than another one; None is no number."""
    value, limit = getattr(settings, name), getattr(settings, other)
    if value is not None and limit is not None and value > limit:
        yield (
            f"{name} is {value:,} and {other} is {limit:,}; {reason}; "
            f"lower {option(name)}, or raise {option(other)}"
        )


def _is_measured(settings: ServiceSettings, name: str) -> bool:
    """Whether a setting is left to `autotune`, which varies nothing that was given."""
    return settings.autotune and name in _MEASURED and settings.source(name) == "default"


def _has_keys(settings: ServiceSettings) -> bool:
    return settings.keys_file is not None or settings.api_keys is not None


def _unusable(folder: Path) -> str | None:
    """Why a folder cannot be written to, if so; one that is not there can be made."""
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(mode):
        return "it is no folder"
    return None if os.access(folder, os.W_OK | os.X_OK) else "it may not be written"


def _check_extras(settings: ServiceSettings) -> None:
    if settings.redis_url is not None and not _installed("redis"):
        raise MissingExtraError(feature=option("redis_url"), extra="redis")
    if settings.otlp_endpoint is not None and not all(map(_installed, _OTEL)):
        raise MissingExtraError(feature=option("otlp_endpoint"), extra="otel")
    if settings.index is not None:
        module, extra = (
            ("pymilvus", "milvus") if is_milvus(settings.index) else ("lancedb", "retrieval")
        )
        if not _installed(module):
            raise MissingExtraError(feature=option("index"), extra=extra)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    # A package around it is missing.
    except ModuleNotFoundError:
        return False


def _odd_numbers(settings: ServiceSettings) -> Iterator[str]:
    yield from _above(
        settings,
        "run_timeout_s",
        "timeout_s",
        "requests give up before a hung micro-batch is noticed",
    )
    yield from _above(
        settings,
        "run_timeout_s",
        "canary_max_age_s",
        "the service is unhealthy before a slow micro-batch counts as hung",
    )
    workers, cores = settings.num_workers or num_cores(), num_cores()
    if workers > cores:
        yield (
            f"num_workers is {workers:,} and there are {cores:,} cores here; "
            f"workers would wait for each other; lower {option('num_workers')}"
        )
    budget = settings.budget or DEFAULT_BUDGET
    if workers * budget > settings.max_queue_tokens:
        yield (
            f"max_queue_tokens is {settings.max_queue_tokens:,}, and {workers:,} workers take "
            f"{workers * budget:,} tokens at once; some are idle; raise {option('max_queue_tokens')}"
        )
    entry = find(specs_of(settings)[0].place or DEFAULT_MODEL)
    if (
        entry is not None
        and settings.max_length is not None
        and settings.max_length > entry.max_length
    ):
        yield (
            f"max_length is {settings.max_length:,} and {entry.name} reads {entry.max_length:,} tokens; "
            f"it is used as {entry.max_length:,}; lower {option('max_length')}"
        )


def _odd_doors(settings: ServiceSettings) -> Iterator[str]:
    if not _has_keys(settings) and not _is_loopback(settings.host):
        yield (
            f"host is {settings.host!r} and there are no keys; whoever reaches this machine can use the service; "
            f"set keys with {option('keys_file')}"
        )
        if EVERYBODY in settings.controllers:
            yield (
                f"host is {settings.host!r}, there are no keys, and model_control is {EVERYBODY!r}; whoever reaches "
                f"this machine can unload its models; leave out {option('model_control')}"
            )
    if settings.source("api_keys") == "flag":
        yield (
            "api_keys is given as a flag; other users of this machine can read it in the list of processes; "
            f"set it with {variable('api_keys')}, or use {option('keys_file')}"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def _idle(settings: ServiceSettings) -> Iterator[str]:
    """What was chosen, and means nothing with the rest."""
    if settings.backend == "fake":
        yield "backend is fake; it counts common words, and its scores mean nothing"
    if settings.backend == "fake" and settings.autotune:
        yield "autotune is on and backend is fake; what it measures is no model"
    for name, other in _NEEDS.items():
        value = getattr(settings, name)
        if value != ServiceSettings.model_fields[name].default and not getattr(settings, other):
            yield (
                f"{name} is {str(value)!r}, to no effect without {other}; "
                f"set {option(other)}, or leave out {option(name)}"
            )


def as_toml(settings: ServiceSettings) -> str:
    """The settings as a file that sets the same, each with where it came from; no key and no password is in it."""
    document = tomlkit.document()
    for panel, members in itertools.groupby(SETTINGS, key=lambda setting: setting.panel):
        if document.body:
            document.add(tomlkit.nl())
        document.add(tomlkit.comment(str(panel)))
        for setting in members:
            _add(document, setting, settings)
    return tomlkit.dumps(document)


def _add(document: TOMLDocument, setting: Setting, settings: ServiceSettings) -> None:
    value, source = getattr(settings, setting.name), settings.source(setting.name)
    measured = _is_measured(settings, setting.name)
    if measured or (value is None and setting.default is None):
        otherwise = "as measured" if measured else setting.otherwise
        document.add(tomlkit.comment(f"{setting.name} = # {source}: {otherwise}"))
        return
    # What has a default is turned off with 0.
    plain = 0 if value is None else str(value) if isinstance(value, Path) else value
    plain = list(plain) if isinstance(plain, tuple) else plain
    item = tomlkit.item(setting.shown(plain))
    if setting.shown(plain) == plain and setting.name != "config":
        document.add(setting.name, item.comment(source))
    else:
        # A secret would be lost, and a file cannot name a file.
        document.add(tomlkit.comment(f"{setting.name} = {item.as_string()} # {source}"))
