"""What an operator can set: one model, from which flags, variables, file keys and documentation are made.

Each field can be given by keyword (a flag of `pairscore serve`), as an environment variable, or as a key of a TOML
file; the first of these wins. This is the one place of the service that reads the environment. What contradicts what
is said in `pairscore.service.check`.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import platformdirs
from pydantic import (
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pairscore.config import DEFAULT_BUDGET
from pairscore.errors import SettingError
from pairscore.service.fields import (
    ANY_CASE,
    ENV_PREFIX,
    MIB,
    WHOLE,
    YEAR_S,
    Panel,
    Seconds,
    declare,
    describe,
    option,
    refuse_unprintable,
    table,
    url,
    variable,
)

__all__ = [
    "ENV_PREFIX",
    "SETTINGS",
    "ServiceSettings",
    "calm_tokenizers",
    "option",
    "settings_table",
    "unknown_variables",
]


class ServiceSettings(BaseSettings):
    """The settings of one service; a keyword wins over the environment, which wins over a file.

    A keyword that is None is as not given.

    Raises:
        SettingError: a value makes no sense, or the file is broken; the message names the option and the file.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        validate_default=False,
        hide_input_in_errors=True,  # a traceback must not show a key
    )

    model: str | None = declare(
        Panel.MODEL,
        "A name from `pairscore models`, a folder, or a hub id (owner/name, owner/name@revision).",
        metavar="NAME",
        otherwise="the model inside the package",
    )
    backend: Literal["onnx", "fake"] = declare(
        Panel.MODEL,
        "What runs the model; fake counts common words, for tests.",
        metavar="NAME",
        default="onnx",
    )
    max_length: int | None = declare(
        Panel.MODEL,
        "Tokens of a pair; a longer document is cut, and reported.",
        metavar="TOKENS",
        otherwise="the model's own",
        ge=8,
    )
    host: str = declare(
        Panel.SERVER,
        "The address to listen on; 0.0.0.0 is every network of the machine.",
        metavar="ADDRESS",
        default="127.0.0.1",
    )
    port: int = declare(
        Panel.SERVER,
        "The port; 0 takes a free one.",
        metavar="PORT",
        default=8000,
        ge=0,
        le=65535,
    )
    config: Path | None = declare(
        Panel.SERVER,
        "A TOML file of settings, each a key; flags and variables win over it.",
        metavar="FILE",
        otherwise="no file",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], ANY_CASE] = declare(
        Panel.SERVER, "The least severe messages that are logged.", metavar="LEVEL", default="info"
    )
    log_format: Annotated[Literal["text", "json"], ANY_CASE] = declare(
        Panel.SERVER, "Lines for people, or JSON objects.", metavar="FORMAT", default="text"
    )
    access_log: bool = declare(Panel.SERVER, "Log a line for each request.", default=True)
    max_pairs: PositiveInt = declare(
        Panel.LIMITS, "Pairs or documents that one request may hold.", metavar="N", default=1000
    )
    max_chars: PositiveInt = declare(
        Panel.LIMITS, "Characters that one text may have.", metavar="CHARS", default=100_000
    )
    max_body_bytes: PositiveInt = declare(
        Panel.LIMITS,
        "Bytes that the body of one request may have.",
        metavar="BYTES",
        default=16 * MIB,
    )
    body_timeout_s: Seconds = declare(
        Panel.LIMITS,
        "Time in which a request's head and body must have come; a slower client gets 408.",
        metavar="SECONDS",
        default=30.0,
    )
    max_connections: PositiveInt = declare(
        Panel.LIMITS, "Connections at once; one more gets 503.", metavar="N", default=1024
    )
    max_queue_tokens: PositiveInt = declare(
        Panel.LOAD,
        "Tokens that may wait or run at once; more are refused.",
        metavar="TOKENS",
        default=262_144,
    )
    overload_status: Annotated[Literal[429, 503], WHOLE] = declare(
        Panel.LOAD,
        "The status of what is refused because too much waits.",
        metavar="STATUS",
        default=429,
    )
    timeout_s: float | None = declare(
        Panel.LOAD,
        "The deadline of a request that brings none; 0 sets none.",
        metavar="SECONDS",
        default=60.0,
        ge=0,
        le=YEAR_S,
    )
    run_timeout_s: Seconds = declare(
        Panel.LOAD,
        "Time after which a micro-batch counts as hung and its worker is replaced.",
        metavar="SECONDS",
        default=30.0,
    )
    grace_s: float = declare(
        Panel.LOAD,
        "Time to finish what was admitted, when the service ends.",
        metavar="SECONDS",
        default=30.0,
        ge=0,
        le=YEAR_S,
    )
    num_workers: int | None = declare(
        Panel.WORKERS,
        "Threads that each run one micro-batch.",
        metavar="N",
        otherwise="one for each core",
        ge=1,
    )
    budget: PositiveInt = declare(
        Panel.WORKERS,
        "Padded tokens that one micro-batch may hold.",
        metavar="TOKENS",
        default=DEFAULT_BUDGET,
    )
    autotune: bool = declare(
        Panel.WORKERS,
        "Measure at the start which threads and which budget are fastest, and keep the result.",
        default=False,
    )
    cache_dir: Path | None = declare(
        Panel.WORKERS,
        "Where such results are kept.",
        metavar="FOLDER",
        otherwise="the user's cache folder",
    )
    canary_max_age_s: Seconds = declare(
        Panel.HEALTH,
        "Healthy means that a known pair got its right score not longer ago than this.",
        metavar="SECONDS",
        default=30.0,
    )
    keys_file: Path | None = declare(
        Panel.ACCESS,
        "A file of API keys; each request then needs one.",
        metavar="FILE",
        otherwise="no keys",
    )
    api_keys: SecretStr | None = declare(
        Panel.ACCESS,
        "API keys: name=key or name=sha256:HEX, separated by commas.",
        metavar="KEYS",
        otherwise="no keys",
    )
    public_metrics: bool = declare(Panel.ACCESS, "Show /metrics without a key, too.", default=True)
    cache_bytes: NonNegativeInt = declare(
        Panel.CACHE,
        "Memory for scores that are known already; 0 keeps none.",
        metavar="BYTES",
        default=16 * MIB,
    )
    cache_ttl_s: Seconds = declare(
        Panel.CACHE, "Time for which a score is kept.", metavar="SECONDS", default=3600.0
    )
    redis_url: Annotated[str | None, url("redis", "rediss", "unix")] = declare(
        Panel.CACHE,
        "A Redis that shares scores between services; needs the extra redis.",
        metavar="URL",
        otherwise="no Redis",
        repr=False,
    )
    otlp_endpoint: Annotated[str | None, url("http", "https")] = declare(
        Panel.TRACING,
        "The OpenTelemetry collector that traces are sent to; needs the extra otel.",
        metavar="URL",
        otherwise="no traces",
        repr=False,
    )
    service_name: str = declare(
        Panel.TRACING,
        "The name of this service in its traces.",
        metavar="NAME",
        default="pairscore",
    )

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        gathered = _gather(values)
        try:
            super().__init__(**gathered.values)
        except ValidationError as error:
            raise SettingError(_worded(error, gathered)) from error
        self._sources = gathered.sources

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what was gathered, because an error names where a value came from."""
        return (init_settings,)

    _refuse_unprintable = field_validator("*", mode="before")(refuse_unprintable)

    @field_validator("timeout_s")
    @classmethod
    def _none_for_zero(cls, value: float | None) -> float | None:
        return value or None

    @property
    def cache_folder(self) -> Path:
        """Where files are kept that can be made again."""
        return self.cache_dir or platformdirs.user_cache_path("pairscore", appauthor=False)

    def source(self, name: str) -> str:
        """Where a setting's value came from: `flag`, the variable's name, `file` or `default`."""
        return self._sources.get(name, "default")


SETTINGS: Final = tuple(describe(*item) for item in ServiceSettings.model_fields.items())
"""All settings, in the order in which they are shown; a heading's settings stand together."""

_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gathered:
    """What was given, and where.

    Attributes:
        values: by the setting's name.
        sources: where each value came from.
        file: the file that was read, if one was named.
    """

    values: dict[str, Any]
    sources: dict[str, str]
    file: Path | None


def _gather(given: Mapping[str, Any]) -> _Gathered:
    keywords = {name: value for name, value in given.items() if value is not None}
    variables = EnvSettingsSource(ServiceSettings)()
    named = keywords.get("config", variables.get("config"))
    file = None if named is None else Path(named)
    keys = {} if file is None else _read(file)
    return _Gathered(
        values=keys | variables | keywords,
        sources={
            **dict.fromkeys(keys, "file"),
            **{name: variable(name) for name in variables},
            **dict.fromkeys(keywords, "flag"),
        },
        file=file,
    )


def _read(file: Path) -> dict[str, Any]:
    """The keys of a file, each one a setting's and with a value of its kind."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    # ValueError: neither TOML nor UTF-8.
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        reason = "cannot be read" if isinstance(error, OSError) else "is not TOML"
        raise SettingError(
            f"config is {str(file)!r}; it {reason}: {cause}; set it with {option('config')}"
        ) from error
    wrong = [text for key, value in content.items() for text in _wrong_key(key, value, file)]
    if wrong:
        raise SettingError("\n".join(wrong))
    return content


def _wrong_key(key: str, value: Any, file: Path) -> Iterator[str]:
    """Why a key cannot stand in a file as it does, if so."""
    if key not in _BY_NAME:
        yield f"in {file}: {_unknown(key)}"
    elif key == "config":
        yield f"in {file}: a file cannot name another one; config is set with {option(key)}"
    elif not _BY_NAME[key].fits(value):
        setting = _BY_NAME[key]
        yield setting.told(value, f"it should be {setting.in_file}", file=file)


def _unknown(name: str) -> str:
    near = _near(name)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(_BY_NAME)}"
    return f"no setting is called {name!r}; {hint}"


def _near(name: str) -> list[str]:
    return difflib.get_close_matches(name.casefold().replace("-", "_"), _BY_NAME)


def _worded(error: ValidationError, gathered: _Gathered) -> str:
    """In pydantic's own sentences, because they name the bound that was passed."""
    return "\n".join(
        _unknown(name)
        if entry["type"] == "extra_forbidden"
        else _BY_NAME[name].told(
            gathered.values[name],
            entry["msg"][:1].lower() + entry["msg"][1:],
            file=gathered.file if gathered.sources[name] == "file" else None,
        )
        for entry in error.errors(include_url=False, include_input=False)
        for name in (str(entry["loc"][0]),)
    )


def unknown_variables() -> Iterator[str]:
    """What is wrong with each variable that begins as ours do and that no setting has; another tool may own it."""
    for name in sorted(os.environ):
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in map(variable, _BY_NAME):
            near = " or ".join(variable(other) for other in _near(name[len(ENV_PREFIX) :]))
            yield f"{name} sets nothing" + (f"; did you mean {near}?" if near else "")


def calm_tokenizers() -> None:
    """Tokenize on one thread, unless the environment says otherwise: a pool takes cores from workers."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def settings_table() -> str:
    """All settings as Markdown: a heading and a table for each panel."""
    return table(SETTINGS)
