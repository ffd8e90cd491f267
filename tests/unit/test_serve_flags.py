"""The flags of `pairscore serve`: made from the settings, when they are asked for and not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.service.fields import Setting, flag, option, variable
from pairscore.service.settings import SETTINGS, ServiceSettings

pytestmark = pytest.mark.usefixtures("no_variables")

SECRET = "s3cr3t-s3cr3t-s3cr3t"
OWN = {
    "redis_url": "redis://h",
    "otlp_endpoint": "http://h",
    "api_keys": f"a={SECRET}",
    "shadow_share": "0.5",
}
EACH = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServiceSettings]:
    """The settings of each service that would have been started."""
    given: list[ServiceSettings] = []
    monkeypatch.setattr("pairscore.service.server.serve", given.append)
    return given


def _serve(*args: object) -> Result:
    return CliRunner().invoke(app, ["serve", *map(str, args)])


def _sample(setting: Setting, folder: Path) -> str:
    """A value that is not the default."""
    if setting.name == "config":
        path = folder / "service.toml"
        path.touch()
        return str(path)
    if setting.choices:
        return next(choice for choice in setting.choices if choice != str(setting.default))
    return OWN.get(setting.name) or {int: "77", float: "7.5"}.get(setting.kind, "some/thing")


@EACH
def test_every_setting_is_a_flag(
    setting: Setting, served: list[ServiceSettings], tmp_path: Path
) -> None:
    """What is given is set, and what is not given is left to the others."""
    if setting.kind is bool:
        cases: dict[tuple[str, ...], Any] = {
            (flag(setting.name),): True,
            (flag(f"no_{setting.name}"),): False,
        }
    else:
        value = _sample(setting, tmp_path)
        expected = getattr(ServiceSettings(**{setting.name: value}), setting.name)
        assert expected != setting.default
        cases = {
            (flag(setting.name), value): expected,
            (f"{flag(setting.name)}={value}",): expected,
        }
    for args, expected in cases.items():
        result = _serve(*args)

        assert result.exit_code == 0, result.output
        settings = served.pop()
        assert getattr(settings, setting.name) == expected
        assert [s.name for s in SETTINGS if settings.source(s.name) == "flag"] == [setting.name]


def test_no_flag_sets_nothing(served: list[ServiceSettings]) -> None:
    """A yes or no that is not given is neither."""
    _serve()

    assert {served[0].source(setting.name) for setting in SETTINGS} == {"default"}
    assert served[0] == ServiceSettings()


def test_a_flag_wins_over_a_variable_and_that_over_the_file(
    served: list[ServiceSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the command line as everywhere."""
    path = tmp_path / "service.toml"
    path.write_text("max_pairs = 1\nmax_chars = 1\nport = 1\naccess_log = false\n")
    monkeypatch.setenv("PAIRSCORE_MAX_PAIRS", "2")
    monkeypatch.setenv("PAIRSCORE_MAX_CHARS", "2")

    _serve("--config", path, "--max-pairs", 3, "--access-log")

    (settings,) = served
    assert (settings.max_pairs, settings.max_chars, settings.port) == (3, 2, 1)
    assert settings.access_log is True


@EACH
def test_a_value_that_makes_no_sense_ends_with_2(
    setting: Setting, served: list[ServiceSettings]
) -> None:
    """The settings' own message, whatever its type: the same as for a variable or a file."""
    if setting.kind is bool:
        result = _serve(f"{flag(setting.name)}=maybe")
    else:
        result = _serve(flag(setting.name), "")
        assert option(setting.name) in result.stderr

    assert (result.exit_code, served) == (2, [])
    assert flag(setting.name) in result.stderr
    assert "Traceback" not in result.output


def test_a_key_is_not_told_by_an_error() -> None:
    """What is broken may be the key itself."""
    result = _serve("--api-keys", f"a={SECRET}\n", "--redis-url", f"http://:{SECRET}@h")

    assert result.exit_code == 2
    assert "api_keys is '***'" in result.stderr
    assert "redis_url is 'http://:***@h'" in result.stderr
    assert SECRET not in result.output


def test_a_misspelt_flag_is_refused() -> None:
    """With the one that was meant."""
    result = _serve("--max-pear", 5)

    assert result.exit_code == 2
    assert "--max-pairs" in result.stderr


def test_the_model_has_a_short_flag(served: list[ServiceSettings]) -> None:
    """As in the other verbs."""
    _serve("-m", "some/model")

    assert served[0].model == ("some/model",)


def _fresh(*args: str, code: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, 200 columns wide; `code` runs after it."""
    script = (
        "import sys\nfrom pairscore.cli.main import run\n"
        f"sys.argv = ['pairscore', *{args!r}]\n"
        f"try:\n    run()\nexcept SystemExit:\n    pass\n{code}"
    )
    plain = {"TERMINAL_WIDTH": "200", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | plain | variables,
    )


def test_the_help_says_all_of_every_setting() -> None:
    """Flag, heading, what it is for, variable and default; no value that was set, and so no secret."""
    text = _fresh("serve", "--help", PAIRSCORE_API_KEYS=SECRET, PAIRSCORE_REDIS_URL=SECRET).stdout
    words = " ".join(text.replace("│", " ").split())

    for setting in SETTINGS:
        assert f"{flag(setting.name)} " in words
        assert f"Without it: {variable(setting.name)}, else {setting.otherwise}." in words
        assert setting.text in words
        assert f"─ {setting.panel} ─" in text
        assert (f"{flag(f'no_{setting.name}')} " in words) == (setting.kind is bool)
    assert "--check " in words
    assert SECRET not in text


@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (("--help",), {"pydantic", "pydantic_settings", "fastapi", "uvicorn", "tomlkit"}),
        (("serve", "--help"), {"fastapi", "uvicorn", "starlette", "onnxruntime", "tokenizers"}),
        (("serve", "--check"), {"uvicorn", "onnxruntime", "tokenizers", "torch"}),
    ],
)
def test_help_and_check_load_little(args: tuple[str, ...], unwanted: set[str]) -> None:
    """The page of the verbs does not pay for the settings, nor those for a server or a model."""
    code = "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    loaded = set(_fresh(*args, code=code).stderr.splitlines()[-1].split())

    assert "typer" in loaded
    assert not loaded & unwanted


@pytest.mark.slow
def test_the_shell_completes_flags_and_choices() -> None:
    """A flag by its beginning, and the values of one that has few."""
    variables = {"_PAIRSCORE_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    flags = _fresh(COMP_WORDS="pairscore serve --log", **variables | {"COMP_CWORD": "2"}).stdout
    levels = _fresh(COMP_WORDS="pairscore serve --log-level ", **variables).stdout

    assert flags.split() == ["--log-level", "--log-format"]
    assert levels.split() == ["debug", "info", "warning", "error"]
