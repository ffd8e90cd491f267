"""Every block of code of every page runs, page by page, from top to bottom, as a reader would go through it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.docs import stages
from tests.docs.desk import Desk, desk
from tests.docs.not_run import NOT_COMPARED, what_runs
from tests.docs.pages import BY_NAME, SHELLS, Block, blocks_of, is_help
from tests.docs.shell import commands_in, console_sessions
from tests.docs.shown import difference, other_shape
from tests.docs.stages import FAST, OTHERWISE, STAGES, Stage

pytestmark = pytest.mark.timeout(900)

_TOOLS = frozenset({"curl", "jq"})
_RUN = SHELLS | {"python"}
_OUTPUT = frozenset({"text", "json"})


def _is_run(block: Block) -> bool:
    if block.language not in _RUN or (block.language == "python" and block.page in OTHERWISE):
        return False
    return block.language == "console" or bool(what_runs(block, block.text))


def _parameter(name: str) -> Any:
    stage = STAGES.get(name, Stage())
    marks = [] if name in FAST else [pytest.mark.slow]
    if stage.needs:
        marks.append(pytest.mark.oracle)
    return pytest.param(name, id=name, marks=marks)


# The generated pages show commands and no session.
_PAGES = [
    _parameter(name)
    for name, page in BY_NAME.items()
    if not is_help(page) and any(map(_is_run, blocks_of(page)))
]


def _look_for_tools(name: str) -> None:
    """Programs that a page calls and that are nobody's own must be there, in continuous integration at least."""
    blocks = [block for block in blocks_of(BY_NAME[name]) if block.language in SHELLS]
    called = {c.words[0] for block in blocks for c in commands_in(block.text) if _is_run(block)}
    missing = sorted(tool for tool in called & _TOOLS if shutil.which(tool) is None)
    if missing:
        message = f"{name} calls {', '.join(missing)}, which this machine does not have"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


@pytest.fixture
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A desk with what the page's reader has at hand."""
    stage = STAGES.get(request.param, Stage())
    if stage.needs and importlib.util.find_spec(stage.needs) is None:
        pytest.skip(f"{request.param} needs {stage.needs}")
    _look_for_tools(request.param)
    stage.prepare(tmp_path)
    with ExitStack() as stack:
        told = stack.enter_context(stages.hub()) if stage.has_hub else {}
        made = stack.enter_context(
            desk(
                tmp_path,
                replacements=stage.replacements,
                environment={**stage.environment, **told},
                strict=stage.strict,
            )
        )
        if stage.serve is not None:
            made.shell(f"pairscore serve {stage.serve}", place=request.param)
        yield made


def _run(reader: Desk, block: Block) -> str:
    """What the block printed; of a session in a terminal what it shows is compared at once."""
    if block.language != "console":
        return reader.run(block, what_runs(block, block.text))
    for session in console_sessions(block.text):
        typed = what_runs(block, session.typed + "\n")
        printed = reader.run(block, typed) if typed else session.shown
        _compare(session.shown, printed, block)
    return ""


def _compare(shown: str, printed: str, block: Block) -> None:
    if shown.strip() and not any(line in shown for line in NOT_COMPARED):
        wrong = difference(shown, printed)
        assert wrong is None, f"{block.place}: {wrong}"


@pytest.mark.parametrize(
    ("reader", "name"),
    [pytest.param(*(2 * entry.values), id=entry.id, marks=entry.marks) for entry in _PAGES],
    indirect=["reader"],
)
def test_the_pages_code_runs(reader: Desk, name: str) -> None:
    """Each block ends well, and what a page shows below a block is what the block prints.

    Right below it, that is the output, line by line; further below, an answer in JSON of the same keys.
    """
    printed: str | None = None
    for block in blocks_of(BY_NAME[name]):
        if _is_run(block):
            printed = _run(reader, block)
        elif printed is not None and block.follows and block.language in _OUTPUT:
            _compare(block.text, printed, block)
            printed = None
        elif printed is not None and block.language == "json":
            _compare_shapes(block, printed)
            printed = None


def _compare_shapes(block: Block, printed: str) -> None:
    try:
        came = json.loads(printed)
    except json.JSONDecodeError:
        return
    wrong = other_shape(json.loads(block.text), came)
    assert wrong is None, f"{block.place}: {wrong}"
