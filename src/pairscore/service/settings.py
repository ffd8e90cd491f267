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
from typing import Any, Final

import platformdirs
from pydantic import (
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pairscore.errors import SettingError
from pairscore.service.declared import Declared
from pairscore.service.fields import (
    ENV_PREFIX,
    describe,
    option,
    refuse_unprintable,
    table,
    variable,
)

__all__ = [
    "ENV_PREFIX",
    "EVERYBODY",
    "SETTINGS",
    "ServiceSettings",
    "calm_tokenizers",
    "option",
    "settings_table",
    "unknown_variables",
]

EVERYBODY: Final = "*"
"""As the name of a key: every request, one without a key too."""


class ServiceSettings(Declared):
    """The settings of one service; a keyword wins over the environment, which wins over a file.

    A keyword that is None, or an empty list, is as not given.

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

    @property
    def aliases(self) -> tuple[str, ...]:
        """The further names of the model."""
        return _listed(self.model_aliases)

    @property
    def controllers(self) -> tuple[str, ...]:
        """The names of the keys that may load, unload and reload models; `EVERYBODY` is all requests."""
        return _listed(self.model_control)

    @property
    def bi_encoder(self) -> str | None:
        """Where the bi-encoder of `/v1/compare` is; None turns it off."""
        return None if self.compare_encoder.casefold() == "none" else self.compare_encoder

    @property
    def skipped_checks(self) -> tuple[str, ...]:
        """The checks that are not made when a model is loaded."""
        return _listed(self.skip_checks)

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


def _listed(names: str | None) -> tuple[str, ...]:
    stripped = (name.strip() for name in (names or "").split(","))
    return tuple(name for name in stripped if name)


def _gather(given: Mapping[str, Any]) -> _Gathered:
    keywords = {name: value for name, value in given.items() if value not in (None, [], ())}
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
