"""What a page shows and no shell or interpreter reads: settings, recipes, JSON, requests; and what is not run."""

from __future__ import annotations

import ast
import configparser
import importlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from starlette.testclient import TestClient
from tests.docs.not_run import NOT_RUN, NotRun, reason
from tests.docs.pages import BY_NAME, PAGES, ROOT, SHELLS, Block, blocks_of, name_of
from tests.docs.shell import Command, commands_in, console_sessions, statements
from tests.docs.stages import FAST, OTHERWISE, STAGES

from pairscore.errors import ModelNotFoundError
from pairscore.service.app import create_app
from pairscore.service.check import check
from pairscore.service.key_files import parse_file
from pairscore.service.settings import ENV_PREFIX, ServiceSettings
from pairscore.training.recipe_file import read_recipe

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
# What is looked at elsewhere, or by people.
OTHER_LANGUAGES = frozenset(
    {"text", "nginx", "dockerfile", "html", "javascript", "python", "py", *SHELLS}
)
NO_BODY: Final = object()


def blocks(*languages: str) -> pytest.MarkDecorator:
    """One test for each block of these languages."""
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


def _json(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        for line in text.splitlines():
            json.loads(line)


def _toml(text: str) -> None:
    values = tomllib.loads(text)
    if "keys" in values:
        digest = "0" * 64
        assert parse_file(re.sub(r'"64 hex digits[^"]*"', f'"{digest}"', text), where="keys.toml")
    elif values.keys() <= ServiceSettings.model_fields.keys():
        settings = ServiceSettings(**values)
        told = {name: getattr(settings, name) for name in values}
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in told.items()} == values
        with suppress(ModelNotFoundError):  # its folders are the reader's own
            check(settings)
    else:
        Path("recipe.toml").write_text(text, encoding="utf-8")
        assert read_recipe("recipe.toml").data.train


def _yaml(text: str) -> None:
    assert all(yaml.safe_load_all(text))


def _ini(text: str) -> None:
    # A unit of systemd may say a thing twice.
    configparser.ConfigParser(strict=False, interpolation=None).read_string(text)


READERS: Final[dict[str, Callable[[str], None]]] = {
    "json": _json,
    "jsonl": _json,
    "toml": _toml,
    "yaml": _yaml,
    "ini": _ini,
}


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and no settings of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    return tmp_path


@blocks(*READERS)
def test_what_is_shown_can_be_read(block: Block, own_folder: Path) -> None:
    """JSON, YAML and ini; TOML by whoever it is for: the service, the training, the file of keys."""
    READERS[block.language](block.text)


def test_every_language_is_known() -> None:
    """A block in a new one needs a reader, or must be said to need none."""
    known = OTHER_LANGUAGES | READERS.keys()

    assert [block.place for block in BLOCKS if block.language not in known] == []


@blocks("python")
def test_python_names_what_there_is(block: Block) -> None:
    """It can be parsed, and what it imports from pairscore is there; also where it is not run here."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pairscore"):
            module = importlib.import_module(node.module or "")
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            assert not missing, f"{block.place}: {node.module} has no {missing}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_extras_exist(page: Path) -> None:
    """Every `pairscore[...]` names extras of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"pairscore\\?\[([a-z,-]+)\\?\]", page.read_text(encoding="utf-8"))

    assert {extra for one in named for extra in one.split(",")} <= set(
        project["optional-dependencies"]
    )


def _shell_text(block: Block) -> str:
    if block.language == "console":
        return "".join(session.typed + "\n" for session in console_sessions(block.text))
    return block.text


def _curls() -> Iterator[Any]:
    for block in BLOCKS:
        if block.language in SHELLS:
            for number, command in enumerate(commands_in(_shell_text(block))):
                if command.words[0] == "curl":
                    yield pytest.param(command, id=f"{block.place}-{number}")


def _request(command: Command) -> tuple[str, str, object]:
    """Method, path and body of a curl's words."""
    words, method, body = list(command.words[1:]), "", NO_BODY
    path = ""
    while words:
        word = words.pop(0)
        if word in ("-X", "--request"):
            method = words.pop(0)
        elif word in ("-d", "--data", "--json", "--data-raw"):
            text = words.pop(0)
            body = NO_BODY if text.startswith("@") else json.loads(text)
            method = method or "POST"
        elif word in ("-H", "--header", "-o", "--output", "-w", "--write-out", "-m", "--max-time"):
            words.pop(0)
        elif found := re.match(r"(?:https?://)?[\w.$-]+:\d+(/\S*)?$", word):
            path = found[1] or "/"
    return method or "GET", path, body


@pytest.fixture(scope="module")
def service() -> Iterator[TestClient]:
    """The service without weights and without keys."""
    with TestClient(create_app(ServiceSettings(backend="fake"))) as client:
        yield client


@pytest.mark.parametrize("command", list(_curls()))
def test_curl_asks_what_there_is(command: Command, service: TestClient) -> None:
    """Its body is JSON that its path takes; what needs a key with rights, or an index, is refused for that alone."""
    method, path, body = _request(command)

    answer = service.request(method, path, json=None if body is NO_BODY else body)

    if path.startswith("/v1/models/") or body is NO_BODY:
        assert answer.status_code != 405
        assert answer.status_code != 404 or "unknown path" not in answer.text.lower()
    elif path == "/v1/search":
        assert "index" in answer.text
    else:
        assert answer.status_code == 200, answer.text


def _parts(block: Block) -> tuple[str, ...]:
    return (block.text,) if block.language == "python" else statements(_shell_text(block))


@pytest.mark.parametrize("entry", NOT_RUN, ids=lambda entry: f"{entry.page} {entry.text}".strip())
def test_what_is_not_run_is_on_its_page(entry: NotRun) -> None:
    """An entry of the table that nothing needs any more leaves it."""
    candidates = [block for block in BLOCKS if block.language in (SHELLS | {"python"})]

    assert any(reason(block, part) is entry for block in candidates for part in _parts(block))


def _words_not_run() -> Iterator[tuple[Block, tuple[str, ...]]]:
    for block in BLOCKS:
        if block.language in SHELLS:
            for part in _parts(block):
                if reason(block, part):
                    yield from ((block, command.words) for command in commands_in(part))


def test_files_of_what_is_not_run_are_there() -> None:
    """Scripts with every option that they are given, and files to deploy."""
    for block, words in _words_not_run():
        for word in words:
            if re.match(r"(deploy|benchmarks|examples|tools)/", word) and "secrets/" not in word:
                assert (ROOT / word).exists(), f"{block.place} names {word}"
        scripts = [word for word in words if re.match(r"(benchmarks|tools)/.*\.py$", word)]
        for script in scripts:
            folder = (ROOT / script).parent
            code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
            for word in words:
                if word.startswith("--"):
                    assert f'"{word}"' in code, f"{block.place}: {script} has no {word}"


def test_stages_are_of_pages() -> None:
    """A page that is renamed takes its stage with it."""
    assert STAGES.keys() | FAST | OTHERWISE.keys() <= BY_NAME.keys()
