"""What an operator can set: the one place of the service that reads the environment.

Each field can be given by keyword, as an environment variable, or as a flag of `pairscore serve`.
What a setting does to the model is said in `pairscore.config`; nothing here loads one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pairscore.config import DEFAULT_BUDGET
from pairscore.errors import SettingError

__all__ = ["ENV_PREFIX", "ServiceSettings", "option"]

ENV_PREFIX = "PAIRSCORE_"


class ServiceSettings(BaseSettings):
    """The settings of one service; a keyword wins over the environment, None means not given.

    Raises:
        SettingError: a value makes no sense; the message names the option.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    model: str | None = Field(
        default=None,
        description="A model's name, folder or hub id; nothing is the bundled model.",
    )
    backend: Literal["onnx", "fake"] = Field(
        default="onnx", description="What runs the model; fake scores without weights, for tests."
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on; 0.0.0.0 is every network of the machine.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="The port; 0 takes a free one.")
    max_pairs: int = Field(
        default=1000, ge=1, description="Pairs or documents that one request may hold."
    )
    max_chars: int = Field(default=100_000, ge=1, description="Characters that one text may have.")
    max_body_bytes: int = Field(
        default=32 * 1024 * 1024, ge=1, description="Bytes that the body of one request may have."
    )
    num_workers: int | None = Field(
        default=None,
        ge=1,
        description="Threads that each run one micro-batch; nothing takes one for each core.",
    )
    max_length: int | None = Field(
        default=None,
        ge=8,
        description="Tokens of a pair, longer documents are cut; nothing takes the model's own.",
    )
    budget: int = Field(
        default=DEFAULT_BUDGET, ge=1, description="Padded tokens that one micro-batch may hold."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe messages that are logged."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**{name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            raise SettingError(_worded(error)) from error


def option(name: str) -> str:
    """How an operator gives a setting: the flag and the variable."""
    return f"--{name.replace('_', '-')} / {ENV_PREFIX}{name.upper()}"


def _worded(error: ValidationError) -> str:
    return "; ".join(
        f"no setting is called {entry['loc'][0]}; known are {', '.join(ServiceSettings.model_fields)}"
        if entry["type"] == "extra_forbidden"
        # pydantic's own sentence, because it names the bound that was passed.
        else f"{entry['loc'][0]} is {entry['input']!r}; {entry['msg'][:1].lower()}{entry['msg'][1:]}; "
        f"set it with {option(str(entry['loc'][0]))}"
        for entry in error.errors(include_url=False)
    )
