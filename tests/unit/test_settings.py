"""Every setting by keyword, by variable and in a file: what wins, what is refused, and what is never shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from pairscore.errors import SettingError
from pairscore.service.fields import Panel, flag, variable
from pairscore.service.settings import (
    SETTINGS,
    ServiceSettings,
    option,
    settings_table,
    unknown_variables,
)

pytestmark = pytest.mark.usefixtures("no_variables")

# Two values for each setting, as a flag or a variable gives them, and one that makes no sense.
VALUES: dict[str, tuple[str, str, str]] = {
    "model": ("some/model", "other/model", ""),
    "backend": ("fake", "torch", "tpu"),
    "device": ("cpu", "cuda:1", ""),
    "dtype": ("float16", "bfloat16", "int4"),
    "label": ("entailment", "neutral", ""),
    "prompt": ("query", "query: ", ""),
    "calibration": ("some.json", "other.json", ""),
    "long_documents": ("chunk", "truncate", "both"),
    "max_windows": ("5", "6", "0"),
    "skip_checks": ("head", "order, finite", ""),
    "max_length": ("77", "88", "7"),
    "model_aliases": ("rerank-v3.5", "a, b", ""),
    "any_model": ("true", "false", "maybe"),
    "max_models_bytes": ("77", "88", "0"),
    "shadow_model": ("next", "some/model", ""),
    "shadow_share": ("0.5", "1", "1.1"),
    "shadow_file": ("some.jsonl", "/tmp/other.jsonl", ""),
    "shadow_file_bytes": ("77", "88", "0"),
    "index": ("some/index", "milvus:http://localhost:19530/docs", ""),
    "encoder": ("all-minilm-l6", "some/folder", ""),
    "compare_encoder": ("none", "some/folder", ""),
    "host": ("localhost", "::1", ""),
    "port": ("9000", "0", "65536"),
    "log_level": ("error", "WARNING", "loud"),
    "log_format": ("json", "text", "xml"),
    "access_log": ("false", "true", "maybe"),
    "max_pairs": ("5", "6", "0"),
    "max_batch_pairs": ("5", "6", "0"),
    "max_explain_pairs": ("5", "6", "1"),
    "max_chars": ("50", "60", "-1"),
    "max_body_bytes": ("5000", "6000", "1.5"),
    "body_timeout_s": ("1.5", "2", "0"),
    "max_connections": ("5", "6", "many"),
    "max_queue_tokens": ("512", "1024", "0"),
    "overload_status": ("503", "429", "500"),
    "timeout_s": ("5.5", "6", "-1"),
    "run_timeout_s": ("5", "0.5", "nan"),
    "grace_s": ("0", "5.5", "-0.5"),
    "num_workers": ("3", "1", "0"),
    "budget": ("64", "128", "0"),
    "autotune": ("true", "false", "2"),
    "cache_dir": ("some/folder", "/tmp/other", ""),
    "canary_max_age_s": ("60", "61", "inf"),
    "keys_file": ("keys.toml", "other.toml", ""),
    "api_keys": ("a=0123456789abcdef", "b=0123456789abcdef", ""),
    "model_control": ("ops", "ops, deploy", ""),
    "public_metrics": ("false", "true", "perhaps"),
    "cache_bytes": ("0", "4096", "-1"),
    "cache_ttl_s": ("60", "90.5", "1e300"),
    "redis_url": ("redis://h:1/2", "unix:///run/redis.sock", "http://h"),
    "otlp_endpoint": ("http://h:4318", "https://h/v1", "h:4318"),
    "service_name": ("search", "rank", "a\tb"),
}
CASES = [pytest.param(name, *values, id=name) for name, values in VALUES.items()]
KINDS = {setting.name: setting.kind for setting in SETTINGS}
SEVERAL = {setting.name: setting.several for setting in SETTINGS}
SECRET = "s3cr3t-s3cr3t-s3cr3t"


def _file(folder: Path, **keys: Any) -> Path:
    path = folder / "service.toml"
    path.write_text(tomlkit.dumps(keys), encoding="utf-8")
    return path


def _typed(name: str, text: str) -> Any:
    """What a file holds where a flag has a text."""
    kind = KINDS[name]
    return text == "true" if kind is bool else kind(text)


def test_every_setting_is_tested() -> None:
    """A new field needs its line above; `config` has tests of its own."""
    assert set(VALUES) | {"config"} == set(ServiceSettings.model_fields)


def test_settings_are_named_as_operators_expect() -> None:
    """One name, spelled for each place."""
    assert flag("max_pairs") == "--max-pairs"
    assert variable("max_pairs") == "PAIRSCORE_MAX_PAIRS"
    assert option("max_pairs") == "--max-pairs / PAIRSCORE_MAX_PAIRS"


@pytest.mark.parametrize(("name", "text", "other", "_bad"), CASES)
def test_a_setting_is_the_same_from_everywhere(
    name: str, text: str, other: str, _bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a keyword, as a variable and as a key of a file; each is said to be the source."""
    for value in (text, other):
        by_keyword = ServiceSettings(**{name: value})
        by_file = ServiceSettings(config=_file(tmp_path, **{name: _typed(name, value)}))
        with monkeypatch.context() as patch:
            patch.setenv(variable(name), value)
            by_variable = ServiceSettings()

        assert getattr(by_keyword, name) == getattr(by_variable, name) == getattr(by_file, name)
        assert by_keyword.source(name) == "flag"
        assert by_variable.source(name) == variable(name)
        assert by_file.source(name) == "file"
        assert ServiceSettings().source(name) == "default"
    assert getattr(ServiceSettings(**{name: text}), name) != getattr(by_keyword, name)


@pytest.mark.parametrize(("name", "text", "other", "_bad"), CASES)
def test_a_flag_wins_over_a_variable_and_that_over_the_file(
    name: str, text: str, other: str, _bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the default is, and the other way round too."""
    for winner, loser in ((text, other), (other, text)):
        expected = getattr(ServiceSettings(**{name: winner}), name)
        path = _file(tmp_path, **{name: _typed(name, loser)})

        assert getattr(ServiceSettings(config=path, **{name: winner}), name) == expected
        with monkeypatch.context() as patch:
            patch.setenv(variable(name), winner)
            assert getattr(ServiceSettings(config=path), name) == expected
            assert getattr(ServiceSettings(config=path, **{name: None}), name) == expected
            patch.setenv(variable(name), loser)
            assert getattr(ServiceSettings(**{name: winner}), name) == expected


@pytest.mark.parametrize(("name", "_text", "_other", "bad"), CASES)
def test_a_bad_value_is_told_with_its_option(
    name: str, _text: str, _other: str, bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By keyword, by variable and in a file, where the file is named too."""
    shown = "***" if name == "api_keys" else bad
    with pytest.raises(SettingError) as by_keyword:
        ServiceSettings(**{name: bad})
    path = _file(tmp_path, **{name: bad})
    with pytest.raises(SettingError) as by_file:
        ServiceSettings(config=path)
    monkeypatch.setenv(variable(name), bad)
    with pytest.raises(SettingError) as by_variable:
        ServiceSettings()

    for error in (by_keyword, by_variable, by_file):
        assert f"{name} is {shown!r}; " in str(error.value)
        assert f"set it with {option(name)}" in str(error.value)
    assert str(by_variable.value) == str(by_keyword.value)
    assert str(by_file.value).startswith(f"in {path}: ")


@pytest.mark.parametrize(("name", "text", "_other", "_bad"), CASES)
def test_a_file_holds_the_right_kind(
    name: str, text: str, _other: str, _bad: str, tmp_path: Path
) -> None:
    """A number in quotes is no number, and true is neither 1 nor a text."""
    wrong: list[Any] = [[], [1]] if SEVERAL[name] else [[text]]
    wrong += [{"a": text}]
    wrong += [text, 1] if KINDS[name] is bool else [True]
    wrong += [text] if KINDS[name] in (int, float) else []
    wrong += [1.0] if KINDS[name] is int else []
    wrong += [7] if KINDS[name] is str else []
    for value in wrong:
        path = _file(tmp_path, **{name: value})
        with pytest.raises(
            SettingError, match=f"in {re.escape(str(path))}: {name} is .* should be"
        ):
            ServiceSettings(config=path)


def test_none_is_not_given() -> None:
    """So that the command line can pass on what it has."""
    assert ServiceSettings(max_pairs=None, timeout_s=None) == ServiceSettings()
    assert ServiceSettings(max_pairs=None).source("max_pairs") == "default"


def test_no_deadline_is_asked_for_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Because None means not given."""
    assert ServiceSettings().timeout_s == 60.0
    assert ServiceSettings(timeout_s=0).timeout_s is None
    assert ServiceSettings(config=_file(tmp_path, timeout_s=0)).timeout_s is None
    monkeypatch.setenv("PAIRSCORE_TIMEOUT_S", "0")
    assert ServiceSettings().timeout_s is None


def test_the_cache_folder_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another one was named."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert ServiceSettings(cache_dir=str(tmp_path / "own")).cache_folder == tmp_path / "own"
    assert ServiceSettings().cache_folder.name == "pairscore"


def test_the_file_may_be_named_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by a flag, which wins."""
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("PAIRSCORE_CONFIG", str(_file(tmp_path, max_pairs=5)))

    assert ServiceSettings().max_pairs == 5
    assert ServiceSettings(config=_file(tmp_path / "other", max_chars=6)).max_pairs == 1000
    assert ServiceSettings().source("config") == "PAIRSCORE_CONFIG"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "No such file"),
        (b"max_pairs = ", "not TOML"),
        (b"max_pairs = 5\nmax_pairs = 6\n", "line 2"),
        (b"host = '\xff'", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_read(
    content: bytes | None, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names it, however it was given."""
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError) as by_keyword:
        ServiceSettings(config=str(path))
    monkeypatch.setenv("PAIRSCORE_CONFIG", str(path))
    with pytest.raises(SettingError) as by_variable:
        ServiceSettings()

    assert f"config is {str(path)!r}; " in str(by_keyword.value)
    assert part in str(by_keyword.value)
    assert str(by_variable.value) == str(by_keyword.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Nor is an empty name, which would be the working directory."""
    for path, shown in ((str(tmp_path), str(tmp_path)), ("", ".")):
        with pytest.raises(SettingError, match=f"config is '{re.escape(shown)}'"):
            ServiceSettings(config=path)


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"max_pear": 3}, "'max_pear'; did you mean max_pairs"),
        ({"max-pairs": 3}, "'max-pairs'; did you mean max_pairs"),
        ({"MAX_PAIRS": 3}, "'MAX_PAIRS'; did you mean max_pairs"),
        ({"limits": {"max_pairs": 3}}, "'limits'; "),
        ({"zzzzzzzz": 3}, "known are model, backend,"),
        ({"config": "other.toml"}, "a file cannot name another one"),
    ],
)
def test_an_unknown_key_is_refused(keys: dict[str, Any], part: str, tmp_path: Path) -> None:
    """With what was probably meant, and the file; a table of keys is one as well."""
    path = _file(tmp_path, **keys)
    with pytest.raises(SettingError) as caught:
        ServiceSettings(config=path)

    assert f"in {path}: " in str(caught.value)
    assert part in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Who starts a service should not have to start it once for each."""
    with pytest.raises(SettingError) as of_values:
        ServiceSettings(port="x", max_pairs="0", max_pear=3)
    with pytest.raises(SettingError) as of_keys:
        ServiceSettings(config=_file(tmp_path, port="x", max_pear=3))

    assert len(str(of_values.value).splitlines()) == 3
    assert len(str(of_keys.value).splitlines()) == 2


def test_unknown_variables_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no error, because the prefix may be another tool's; their values are not told."""
    monkeypatch.setenv("PAIRSCORE_MAX_PAIR", SECRET)
    monkeypatch.setenv("PAIRSCORE_ZZZZZZZZ", SECRET)
    monkeypatch.setenv("PAIRSCORE_PORT", "1")
    monkeypatch.setenv("pairscore_host", "localhost")

    told = list(unknown_variables())

    assert ServiceSettings().max_pairs == 1000
    assert told == [
        "PAIRSCORE_MAX_PAIR sets nothing; did you mean PAIRSCORE_MAX_PAIRS or PAIRSCORE_MAX_CHARS or PAIRSCORE_MAX_BATCH_PAIRS?",
        "PAIRSCORE_ZZZZZZZZ sets nothing",
    ]


@settings(deadline=None, max_examples=300)
@given(name=st.sampled_from(sorted(VALUES)), text=st.text())
def test_no_text_ends_in_another_error(name: str, text: str) -> None:
    """Whatever is given for a setting, it is a setting or a SettingError."""
    try:
        ServiceSettings(**{name: text})
    except SettingError as error:
        assert option(name) in str(error)  # noqa: PT017 - most of the texts are refused, not all


@pytest.mark.parametrize(
    "url", ["redis:///0", "redis://", "unix://", "redis://h:70000", "redis://a b", "h:6379", "//h"]
)
def test_a_redis_needs_a_place(url: str) -> None:
    """A host, with a port that can be, or the path of a socket."""
    with pytest.raises(SettingError, match="begins with redis:// or rediss:// or unix://"):
        ServiceSettings(redis_url=url)


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "a\udcffb", "\x1b[31m"])
def test_what_a_log_could_not_hold_is_refused(text: str) -> None:
    """Control characters, and bytes that are not UTF-8."""
    for name in ("model", "host", "service_name", "cache_dir", "keys_file", "api_keys"):
        with pytest.raises(SettingError, match="control character"):
            ServiceSettings(**{name: text})


def test_a_setting_says_what_it_is() -> None:
    """In a sentence without markup, under a heading; those of one heading stand together."""
    panels = [setting.panel for setting in SETTINGS]

    assert list(dict.fromkeys(panels)) == list(Panel)
    assert sorted(panels, key=list(Panel).index) == panels
    for setting in SETTINGS:
        assert setting.text.endswith(".")
        assert "[" not in setting.text  # rich would read it as a style
        assert setting.otherwise
        assert bool(setting.metavar) == (setting.kind is not bool)


def test_the_table_names_every_setting() -> None:
    """Flag, variable, default and description, under the same headings as the help."""
    lines = settings_table().splitlines()

    assert [line[4:] for line in lines if line.startswith("### ")] == list(Panel)
    for setting in SETTINGS:
        (row,) = (line for line in lines if line.startswith(f"| `{flag(setting.name)}`"))
        assert f"| `{variable(setting.name)}` | {setting.otherwise} | {setting.text} |" in row
        assert (f"`--no-{flag(setting.name)[2:]}`" in row) == (setting.kind is bool)
    assert "| 16 MiB |" in settings_table()
    assert "One of debug, info, warning or error." in settings_table()


@pytest.mark.parametrize("text", [" ", ",", " , "])
def test_a_list_that_names_nothing_is_refused(text: str) -> None:
    """It would be printed as an empty list, which no file may hold."""
    with pytest.raises(SettingError, match="names nothing; leave it out"):
        ServiceSettings(model=text)


def test_an_empty_list_is_as_not_given() -> None:
    """As flags that may be given several times come when they are not."""
    assert ServiceSettings(model=[]).model is None
