"""`pairscore serve --check` and what each start checks first: contradictions, warnings, and a file to use again."""

from __future__ import annotations

import os
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.errors import MissingExtraError, ModelNotFoundError, SettingError
from pairscore.service.check import as_toml, check
from pairscore.service.fields import Panel, Setting, flag
from pairscore.service.server import serve
from pairscore.service.settings import SETTINGS, ServiceSettings, option

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "s3cr3t-s3cr3t-s3cr3t"
KEYS = f"a={SECRET}"
# What contradicts, and what the message holds.
CONTRADICTIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (
        {"max_chars": 5000, "max_body_bytes": 4999},
        ("max_chars is 5,000 and max_body_bytes is 4,999", option("max_body_bytes")),
    ),
    (
        {"max_pairs": 5001, "max_chars": 5, "max_body_bytes": 5000},
        ("max_pairs is 5,001 and max_body_bytes is 5,000", option("max_pairs")),
    ),
    ({"shadow_model": "next"}, ("declare a second model", option("shadow_model"))),
    (
        {"budget": 600, "max_queue_tokens": 599},
        ("budget is 600 and max_queue_tokens is 599", option("budget")),
    ),
    (
        {"autotune": True, "num_workers": 1, "budget": 512},
        ("autotune is on", option("num_workers"), option("budget")),
    ),
    ({"model_control": "ops"}, ("there are no keys; nobody could be told apart",)),
    ({"model_control": "*, ops"}, ("* is every request already", option("model_control"))),
    ({"public_metrics": False}, ("public_metrics is off and there are no keys",)),
    (
        {"redis_url": f"redis://:{SECRET}@h", "cache_bytes": 0},
        ("redis_url is set and cache_bytes is 0", option("cache_bytes")),
    ),
    ({"keys_file": "missing.toml"}, ("missing.toml", "No such file", option("keys_file"))),
    ({"api_keys": SECRET}, ("PAIRSCORE_API_KEYS, entry 1", "NAME=KEY")),
    ({"api_keys": f"{KEYS},b=short"}, ("PAIRSCORE_API_KEYS, entry 2",)),
    ({"otlp_endpoint": "grpc://h:4317"}, ("begins with http:// or https://",)),
]
WARNINGS: list[tuple[dict[str, Any], str]] = [
    ({"run_timeout_s": 30, "timeout_s": 29}, "run_timeout_s is 30.0 and timeout_s is 29.0"),
    ({"run_timeout_s": 40}, "run_timeout_s is 40.0 and canary_max_age_s is 30.0"),
    ({"shadow_share": 0.5}, "shadow_share is '0.5', to no effect without shadow_model"),
    ({"num_workers": 3}, "num_workers is 3 and there are 2 cores"),
    ({"budget": 300, "max_queue_tokens": 500}, "2 workers take 600 tokens"),
    ({"max_length": 513}, "max_length is 513 and ms-marco-minilm-l12 reads 512"),
    ({"host": "0.0.0.0"}, "host is '0.0.0.0' and there are no keys"),
    ({"host": "::"}, "host is '::' and there are no keys"),
    ({"host": "search.internal"}, "host is 'search.internal' and there are no keys"),
    ({"host": "::", "model_control": "*"}, "whoever reaches this machine can unload its models"),
    ({"api_keys": KEYS}, "api_keys is given as a flag"),
    ({"backend": "fake"}, "backend is fake"),
    ({"backend": "fake", "autotune": True}, "autotune is on and backend is fake"),
    (
        {"cache_bytes": 0, "cache_ttl_s": 60},
        "cache_ttl_s is '60.0', to no effect without cache_bytes",
    ),
    ({"service_name": "search"}, "service_name is 'search', to no effect without otlp_endpoint"),
    ({"cache_dir": "some/folder"}, "cache_dir is 'some/folder', to no effect without autotune"),
]
FINE: list[dict[str, Any]] = [
    {},
    {"host": "localhost"},
    {"host": "127.3.2.1"},
    {"host": "::1"},
    {"max_chars": 5000, "max_pairs": 5000, "max_body_bytes": 5000},
    {"budget": 256, "max_queue_tokens": 512},
    {"autotune": True, "num_workers": 1},
    {"autotune": True, "budget": 64},
    {"timeout_s": 0, "run_timeout_s": 30},
    {"cache_bytes": 0},
    {"redis_url": "redis://h", "otlp_endpoint": "http://h:4318", "service_name": "search"},
    {"model": "ms-marco-minilm-l12"},
    {"model": "cross-encoder/ms-marco-MiniLM-L6-v2"},
    {"model": "somebody/unknown@v1.0"},
    {"model": "."},
    {"model_control": "*"},
    {"compare_encoder": "None"},
    {"compare_encoder": "somebody/unknown@v1.0"},
    {"max_length": 512},
]


def _check(*args: object, **given_: Any) -> Result:
    """`pairscore serve --check`, with settings as flags."""
    flags: list[object] = []
    for name, value in given_.items():
        on_off = {True: flag(name), False: flag(f"no_{name}")}
        flags += [on_off[value]] if isinstance(value, bool) else [flag(name), value]
    return CliRunner().invoke(app, ["serve", "--check", *map(str, (*args, *flags))])


def _file(folder: Path, content: str) -> Path:
    path = folder / "service.toml"
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(("given_", "parts"), CONTRADICTIONS)
def test_a_contradiction_is_refused(given_: dict[str, Any], parts: tuple[str, ...]) -> None:
    """With a message that names both sides, no secret, exit code 2 and nothing that looks like a file."""
    with pytest.raises(SettingError) as caught:
        check(ServiceSettings(**given_))
    result = _check(**given_)

    for part in parts:
        assert part in str(caught.value)
        assert part in result.stderr
    assert (result.exit_code, result.stdout) == (2, "")
    assert SECRET not in result.stderr


def test_all_contradictions_are_told_at_once() -> None:
    """A line for each."""
    result = _check(public_metrics=False, max_body_bytes=10)

    assert len(result.stderr.splitlines()) == 3


def test_a_start_checks_first() -> None:
    """Before it would even listen; the port is taken, so that it could not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServiceSettings(
            backend="fake", port=taken.getsockname()[1], budget=600, max_queue_tokens=599
        )
        with pytest.raises(SettingError, match="budget is 600"):
            serve(settings)


@pytest.mark.parametrize("kind", ["folder", "text", "pipe", "empty"])
def test_a_file_of_keys_that_is_none(kind: str, tmp_path: Path) -> None:
    """A pipe is not opened: it could be read once only, or never."""
    path = tmp_path / "keys"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text(SECRET if kind == "text" else "")

    result = _check(keys_file=path)

    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert SECRET not in result.stderr


def test_a_file_of_keys_is_enough(tmp_path: Path) -> None:
    """To listen to the world, and to close the metrics."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[keys.a]\nsha256 = "{"0" * 64}"\n')

    assert check(ServiceSettings(keys_file=path, host="0.0.0.0", public_metrics=False)) == ()


def test_a_cache_folder_that_is_none(tmp_path: Path) -> None:
    """One that is there can be used, one that is not can be made; a file is none."""
    path = tmp_path / "file"
    path.touch()

    assert check(ServiceSettings(cache_dir=tmp_path, autotune=True)) == ()
    assert check(ServiceSettings(cache_dir=tmp_path / "new" / "one", autotune=True)) == ()
    for wrong, reason in ((path, "it is no folder"), (path / "below", "Not a directory")):
        with pytest.raises(SettingError, match=rf"cache_dir is .* cannot be used: {reason}"):
            check(ServiceSettings(cache_dir=wrong))


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_cache_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """Told before anything was measured."""
    tmp_path.chmod(0o500)

    with pytest.raises(SettingError, match="may not be written"):
        check(ServiceSettings(cache_dir=tmp_path))


@pytest.mark.parametrize("model", ["mss-marco", "a/b/c", "./nowhere", "~/model", "/a", "a/", "@v1"])
def test_a_model_that_nobody_can_know(model: str) -> None:
    """Neither a known name, a folder nor owner/name; nothing is loaded or fetched to find out."""
    with pytest.raises(ModelNotFoundError, match="known names: ms-marco-minilm-l12"):
        check(ServiceSettings(model=model))
    result = _check(model=model)

    assert (result.exit_code, result.stdout) == (78, "")


@pytest.mark.parametrize(
    ("given_", "module", "extra"),
    [
        ({"redis_url": "redis://h"}, "redis", "redis"),
        ({"otlp_endpoint": "http://h"}, "opentelemetry.sdk", "otel"),
        ({"otlp_endpoint": "http://h"}, "opentelemetry.exporter", "otel"),
    ],
)
def test_a_missing_extra_is_named(
    given_: dict[str, Any], module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the option that asks for it."""
    assert check(ServiceSettings(**given_)) == ()
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=rf"{option(*given_)}.*pairscore\[{extra}\]"):
        check(ServiceSettings(**given_))


@pytest.mark.parametrize(("given_", "part"), WARNINGS)
def test_what_looks_like_a_mistake_is_told(given_: dict[str, Any], part: str) -> None:
    """On standard error, beside the settings; it ends with success."""
    warnings = check(ServiceSettings(**given_))
    result = _check(**given_)

    assert [warning for warning in warnings if part in warning]
    assert result.stderr == "".join(f"warning: {warning}\n" for warning in warnings)
    assert result.exit_code == 0
    assert SECRET not in result.output


@pytest.mark.parametrize("given_", FINE)
def test_what_fits_together_is_not_warned_of(given_: dict[str, Any]) -> None:
    """Every limit may be reached by its neighbour."""
    assert check(ServiceSettings(**given_)) == ()
    assert _check(**given_).stderr == ""


def test_unknown_variables_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be another tool's, so they are no error."""
    monkeypatch.setenv("PAIRSCORE_MAX_PAIR", SECRET)

    result = _check()

    assert "warning: PAIRSCORE_MAX_PAIR sets nothing; did you mean" in result.stderr
    assert (result.exit_code, SECRET in result.output) == (0, False)


def test_every_line_names_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag, variable, file or default, under the headings of the help, and nothing else."""
    monkeypatch.setenv("PAIRSCORE_MAX_CHARS", "60")
    monkeypatch.setenv("PAIRSCORE_TIMEOUT_S", "0")
    config = _file(tmp_path, "max_pairs = 5\nmax_chars = 50\n")

    lines = _check("--no-access-log", config=config, budget=64).stdout.splitlines()

    for line in (
        "max_pairs = 5 # file",
        "max_chars = 60 # PAIRSCORE_MAX_CHARS",
        "budget = 64 # flag",
        "access_log = false # flag",
        "max_connections = 1024 # default",
        "timeout_s = 0 # PAIRSCORE_TIMEOUT_S",
        "# num_workers = # default: one for each core",
        f'# config = "{config}" # flag',
    ):
        assert line in lines
    names = [line.removeprefix("# ").partition(" = ")[0] for line in lines if " = " in line]
    assert names == [setting.name for setting in SETTINGS]
    assert [line[2:] for line in lines if line and " = " not in line] == list(Panel)


def test_what_is_measured_is_not_set(tmp_path: Path) -> None:
    """Neither of the two that `autotune` varies is written down unless it was given: a file would fix it."""
    text = as_toml(ServiceSettings(autotune=True, num_workers=1))

    assert "# budget = # default: as measured" in text
    assert "num_workers = 1 # flag" in text
    assert "# num_workers = # default: as measured" in as_toml(ServiceSettings(autotune=True))
    assert ServiceSettings(config=_file(tmp_path, text)).source("budget") == "default"


def _values(settings: ServiceSettings) -> dict[str, Any]:
    """All but the file's name, and what a file must not be told."""
    return settings.model_dump(exclude={"config", "api_keys"})


_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
_STRATEGIES: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(min_value=8, max_value=65_535),
    float: st.floats(min_value=0, max_value=1e6, exclude_min=True),
    str: _TEXT,
}
_OWN = {
    "config": st.none(),
    # Blanks and commas alone name nothing, and are refused.
    "model": _TEXT.filter(lambda text: bool(text.replace(",", " ").strip())),
    "api_keys": st.none() | st.just(KEYS),
    "redis_url": st.sampled_from(["redis://h:1/2", "unix:///run/redis.sock"]),
    "otlp_endpoint": st.sampled_from(["http://h:4318", "https://h/v1?a=b"]),
    "log_level": st.sampled_from(["debug", "ERROR"]),
    "shadow_share": st.floats(min_value=0, max_value=1),
}


def _strategy(setting: Setting) -> st.SearchStrategy[Any]:
    if setting.name in _OWN:
        return _OWN[setting.name]
    return st.sampled_from(setting.choices) if setting.choices else _STRATEGIES[setting.kind]


_GIVEN = st.fixed_dictionaries(
    {}, optional={setting.name: _strategy(setting) for setting in SETTINGS}
)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_=_GIVEN)
def test_what_is_printed_sets_the_same(given_: dict[str, Any], tmp_path: Path) -> None:
    """Whatever was set: it is TOML, it can be used as the file, and printed again it says the same."""
    settings = ServiceSettings(**given_)
    text = as_toml(settings)

    again = ServiceSettings(config=_file(tmp_path, text))

    assert SECRET not in text
    assert _values(again) == _values(settings)
    assert tomllib.loads(as_toml(again)) == tomllib.loads(text)


@pytest.mark.parametrize("given_", FINE)
def test_what_was_fine_is_fine_as_a_file(given_: dict[str, Any], tmp_path: Path) -> None:
    """Defaults that were written down do not contradict what was chosen."""
    config = _file(tmp_path, _check(**given_).stdout)

    result = _check(config=config)

    assert (result.exit_code, result.stderr) == (0, "")
    assert tomllib.loads(result.stdout) == tomllib.loads(config.read_text(encoding="utf-8"))


def test_secrets_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand as comments: where they came from is told, they are not."""
    monkeypatch.setenv("PAIRSCORE_API_KEYS", KEYS)
    monkeypatch.setenv("PAIRSCORE_REDIS_URL", f"redis://user:{SECRET}@h:1/2")
    monkeypatch.setenv("PAIRSCORE_OTLP_ENDPOINT", f"http://h/?token={SECRET}")

    result = _check()

    assert result.stderr == ""
    assert SECRET not in result.output
    assert '# api_keys = "***" # PAIRSCORE_API_KEYS' in result.stdout
    assert '# redis_url = "redis://user:***@h:1/2" # PAIRSCORE_REDIS_URL' in result.stdout
    assert '# otlp_endpoint = "http://h/?token=***" # PAIRSCORE_OTLP_ENDPOINT' in result.stdout
    assert not {"api_keys", "redis_url", "otlp_endpoint"} & set(tomllib.loads(result.stdout))
