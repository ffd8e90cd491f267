"""Every command of a page is one that the command line takes: the verb, each option, each value's kind; nothing is run."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.docs.pages import (
    PAGES,
    SHELLS,
    blocks_of,
    indented_blocks,
    inline_commands,
    is_help,
    name_of,
)
from tests.docs.shell import commands_in, console_sessions
from typer._click import exceptions  # typer's own copy, and what its parser raises

from pairscore.cli import serve_ray
from pairscore.cli.main import app
from pairscore.service.settings import ENV_PREFIX, ServiceSettings

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
# What stands for words of the reader's own.
PLACEHOLDERS = frozenset({"...", "OPTIONS", "VERB"})


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


@cache
def _door() -> Any:
    return typer.main.get_command(app)


def refusal(words: list[str], *, partial: bool = False) -> str | None:
    """What the command line has against these words, or None.

    Args:
        words: behind `pairscore`.
        partial: whether required arguments may be missing, as in a sentence about a verb.
    """
    command: Any = _door()
    context, name, rest = None, "pairscore", words
    try:
        while True:
            # It takes what it parses out of the list.
            context = command.make_context(name, list(rest), parent=context)
            if not hasattr(command, "commands"):
                break
            rest = [*context._protected_args, *context.args]
            if not rest:  # its help is shown
                return None
            name, command, rest = command.resolve_command(context, rest)
        if name == "serve":
            serve_ray.taken(context.params)
            # The file of --config is the reader's own.
            given = {key: value for key, value in context.params.items() if value}
            ServiceSettings(**{key: given[key] for key in given.keys() - {"check", "config"}})
    except (typer.Exit, exceptions.NoArgsIsHelpError):
        return None
    except (exceptions.MissingParameter, exceptions.BadOptionUsage) as error:
        return None if partial else error.format_message()
    except exceptions.ClickException as error:
        return error.format_message()
    except Exception as error:  # noqa: BLE001 - any other is a refusal too, and is shown
        return f"{type(error).__name__}: {error}"
    return None


def _shown_commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Each `pairscore` of a page's blocks, and its line."""
    for block in blocks_of(page):
        if block.language == "console":
            sources = [session.typed for session in console_sessions(block.text)]
        elif block.language in SHELLS:
            sources = [block.text]
        elif block.language == "dockerfile":
            sources = list(_of_dockerfile(block.text))
        elif is_help(page):
            sources = re.findall(r"^ {1,8}(pairscore (?:.*\\\n)*.*)$", block.text, re.MULTILINE)
        else:
            continue
        for source in sources:
            for command in commands_in(source):
                if Path(command.words[0]).name == "pairscore":
                    yield block.line + command.line, list(command.words[1:])


def _of_dockerfile(text: str) -> Iterator[str]:
    for instruction, rest in re.findall(r"^(RUN|CMD|ENTRYPOINT) (.*)$", text, re.MULTILINE):
        exact = instruction != "RUN" and rest.startswith("[")
        yield shlex.join(json.loads(rest)) if exact else rest


@each_page
def test_commands_are_taken(page: Path) -> None:
    """Those of blocks, whole."""
    refused = [
        f"{name_of(page)}:{line}: pairscore {shlex.join(words)}: {reason}"
        for line, words in _shown_commands(page)
        if (reason := refusal([word for word in words if word not in PLACEHOLDERS]))
    ]

    assert not refused, "\n".join(refused)


@each_page
def test_commands_of_sentences_are_taken(page: Path) -> None:
    """Those in the text and in tables; required arguments may be left out there."""
    refused = []
    for line, command in inline_commands(page):
        words = [word for word in shlex.split(command)[1:] if word not in PLACEHOLDERS]
        # `pairscore/...` and the like are no commands; a verb is a word.
        if words and (reason := refusal(words, partial=True)):
            refused.append(f"{name_of(page)}:{line}: {command}: {reason}")

    assert not refused, "\n".join(refused)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["rate", "a", "b"], "No such command"),
        (["models", "fetch"], "No such command"),
        (["score", "a", "b", "--modell", "x"], "No such option"),
        (["rank", "a", "documents.txt", "--top-k", "many"], "valid integer"),
        (["serve", "--max-pairs", "many"], "max-pairs"),
        (["serve", "--backend", "abacus"], "abacus"),
        (["dedupe"], "Missing argument"),
    ],
)
def test_wrong_commands_are_refused(words: list[str], reason: str) -> None:
    """So that the other tests can fail."""
    assert reason in (refusal(words) or "")


@each_page
def test_code_is_fenced(page: Path) -> None:
    """What is only indented has no language, is coloured nowhere, and is not found by these tests."""
    assert indented_blocks(page) == []


@each_page
def test_every_block_says_its_language(page: Path) -> None:
    """`text` where it is none."""
    assert [block.place for block in blocks_of(page) if not block.language] == []
