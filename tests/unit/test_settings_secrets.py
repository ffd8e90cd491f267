"""A secret among the settings is used, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomlkit
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from pairscore.errors import SettingError
from pairscore.service.settings import SETTINGS, ServiceSettings

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "s3cr3t-s3cr3t-s3cr3t"


@pytest.mark.parametrize(
    "values",
    [
        {"api_keys": f"a={SECRET}"},
        {"redis_url": f"redis://:{SECRET}@h/0"},
        {"redis_url": f"redis://user:{SECRET}@@h:1/0"},
        {"redis_url": f"redis://h/0?password={SECRET}"},
        {"otlp_endpoint": f"https://user:{SECRET}@h/v1"},
        {"otlp_endpoint": f"https://h/v1?api_key={SECRET}"},
    ],
)
def test_a_secret_is_never_shown(values: dict[str, str]) -> None:
    """Not by repr, and still there for those who need it."""
    made = ServiceSettings(**values)
    ((name, value),) = values.items()
    kept = getattr(made, name)

    assert SECRET not in repr(made) + str(made)
    assert (kept.get_secret_value() if isinstance(kept, SecretStr) else kept) == value


@pytest.mark.parametrize(
    "values",
    [
        {"api_keys": f"a={SECRET}\n"},
        {"redis_url": f"http://user:{SECRET}@h"},
        {"redis_url": f"redis://user:{SECRET}@h:port"},
        {"redis_url": f"redis://user:{SECRET}/{SECRET}@[h"},
        {"redis_url": f"user:{SECRET}@h"},
        {"otlp_endpoint": f"grpc://user:{SECRET}@h:4317"},
        {"otlp_endpoint": f"http://h:x/?token={SECRET}"},
    ],
)
def test_an_error_shows_no_secret(values: dict[str, str], tmp_path: Path) -> None:
    """Neither its message nor what it came from, whose text a traceback prints."""
    path = tmp_path / "service.toml"
    path.write_text(tomlkit.dumps(values), encoding="utf-8")
    for given_ in (values, {"config": path}):
        with pytest.raises(SettingError) as caught:
            ServiceSettings(**given_)

        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in str(error)
            error = error.__cause__ or error.__context__


@settings(deadline=None)
@given(password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8))
@example(password="@:/@s3cr3t")
def test_no_password_leaves_a_url(password: str) -> None:
    """Whatever characters it has, and whether the rest can be understood or not."""
    for url in (f"redis://:{password}@host", f"redis://user:{password}@host:port"):
        setting = next(setting for setting in SETTINGS if setting.name == "redis_url")

        assert password not in setting.shown(url).replace("redis://", "").replace("host:port", "")
