"""The tools with which pages are read: blocks, shell, output; each is right about what it is for, and can say no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs import pages
from tests.docs.desk import Desk, desk
from tests.docs.not_run import reason, what_runs
from tests.docs.pages import Block, blocks_of, indented_blocks, inline_commands
from tests.docs.shell import Session, commands_in, console_sessions, statements
from tests.docs.shown import difference, other_shape

PAGE = """# A page

```bash
pairscore score "a" \\
  "b"   # a comment
```

```text
score 1.0
```

- A list with `pairscore
  rank QUERY` in it:

  ```toml
  model = "x"
  ```

    pairscore rank
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of every kind of block."""
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def block(text: str, *, language: str = "bash", page: str = "docs/page.md") -> Block:
    """A block at the top of a page."""
    return Block(page=page, line=1, language=language, text=text, follows=False)


def test_blocks_of_a_page(page: Path) -> None:
    """Languages, lines, what follows what, and blocks within a list, without its indentation."""
    found = [(one.language, one.line, one.follows) for one in blocks_of(page)]

    assert found == [("bash", 3, False), ("text", 8, True), ("toml", 15, False)]
    assert blocks_of(page)[2].text == 'model = "x"\n'


def test_code_that_is_only_indented(page: Path) -> None:
    """It is found; what a list indents is none."""
    assert indented_blocks(page) == [19]


def test_commands_within_sentences(page: Path) -> None:
    """One that is broken over two lines is one."""
    assert inline_commands(page) == [(12, "pairscore rank QUERY")]


def test_a_block_without_an_end_is_refused(page: Path) -> None:
    """Everything below it would be code."""
    page.write_text("```bash\npairscore serve\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"page\.md:1"):
        blocks_of(page)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b # c\nd", [("a", "b"), ("d",)]),
        ("a \\\n  b", [("a", "b")]),
        ('a \'b c\' "d \\" $e"', [("a", "b c", 'd " $e')]),
        ("a 'b\nc' d", [("a", "b\nc", "d")]),
        ("a | b && c || d; e &", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("a > b 2> c", [("a", "2")]),
        ("KEY=x a b", [("a", "b")]),
        ("KEY=$(a b) c", [("a", "b"), ("c",)]),
        ("sudo a b", [("a", "b")]),
        ("for x in 1; do a $x; done", [("for", "x", "in", "1"), ("a", "$x"), ("done",)]),
        ("cat > f <<'END'\na b\nEND\nc", [("cat",), ("c",)]),
    ],
)
def test_commands_of_a_block(text: str, words: list[tuple[str, ...]]) -> None:
    """As the shell would cut it."""
    assert [command.words for command in commands_in(text)] == words


@pytest.mark.parametrize(
    ("text", "num_statements"),
    [
        ("a\nb\n", 2),
        ("a \\\n b\nc\n", 2),
        ("a '{\n}'\nb\n", 2),
        ("for x in 1; do\n  a\ndone\nb\n", 2),
        ("cat <<END\na 'b\nEND\nb\n", 2),
        ("# a comment\n\na\n", 3),
    ],
)
def test_statements_of_a_block(text: str, num_statements: int) -> None:
    """Cut where a shell would go on, and nothing is lost."""
    found = statements(text)

    assert len(found) == num_statements
    assert "".join(found) == text


def test_a_session_is_cut_at_its_prompts() -> None:
    """What was typed, with its further lines, and what came."""
    text = "$ a \\\n  b\nshown\nmore\n$ c 'd\n> e'\n"

    assert console_sessions(text) == (
        Session(typed="a \\\n  b", shown="shown\nmore"),
        Session(typed="c 'd\ne'", shown=""),
    )


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("score  9.35", "score 9.3542"),
        ("in 3.2 s", "in 114.9 s"),
        ("a\n...\nz", "a\nb\nc\nz"),
        ("a\n...", "a\nb"),
        ("a b ...", "a b c d"),
        ('{"id": "x…', '{"id": "x123", "more": 1}'),
        ("12 pairs, 1,200 tokens", "12 pairs, 1200 tokens"),
        ("─────\na", "a"),
    ],
)
def test_shown_is_what_came(shown: str, printed: str) -> None:
    """Nearly the same numbers, times of another machine, and what is left out."""
    assert difference(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("score 9.35", "score 9.11"),
        ("score 9.35", "logit 9.35"),
        ("12 pairs", "13 pairs"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("a\n...\nz", "a\nb"),
        ("a b ...", "a c"),
    ],
)
def test_shown_is_not_what_came(shown: str, printed: str) -> None:
    """Another number, another word, a line too few, a line too many."""
    assert difference(shown, printed) is not None


def test_answers_of_one_shape() -> None:
    """Keys and kinds count, at every depth; values, and what is empty or null, do not."""
    shown = {"id": "a", "hits": [{"score": 1.5, "text": None}], "notes": []}

    assert (
        other_shape(shown, {"id": "b", "hits": [{"score": 2, "text": "t"}] * 2, "notes": [1]})
        is None
    )
    assert "hits[0]" in (other_shape(shown, {"id": "b", "hits": [{"score": 1}], "notes": []}) or "")
    assert ".id" in (other_shape(shown, {**shown, "id": 3}) or "")
    assert "more" in (other_shape(shown, {**shown, "more": 3}) or "")


def test_what_is_not_run_is_left_out() -> None:
    """Of a block what can be run stays; a comment alone is nothing to run."""
    one = block("# first\ndocker build .\n")
    other = block("docker build .\npairscore serve\n")

    assert what_runs(one, one.text) == ""
    assert what_runs(other, other.text) == "pairscore serve\n"
    assert reason(other, "docker build .\n") is not None
    assert reason(other, "pairscore serve\n") is None


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    """A desk with nothing on it."""
    with desk(tmp_path, replacements={"PLACE": "here"}, environment={"TOLD": "1"}) as made:
        yield made


def test_blocks_share_a_folder_and_variables(at: Desk) -> None:
    """Of a shell what it set, of Python what it bound; both see the same files."""
    at.run(block("X"), "NAME=$(echo a)\necho PLACE > file\n")

    assert at.run(block("X"), "echo $NAME $TOLD; cat file\n") == "a 1\nhere\n"
    read = "from pathlib import Path\ntext = Path('file').read_text()\n"
    assert at.run(block("X", language="python"), read) == ""
    assert at.run(block("X", language="python"), "print(text)\n") == "here\n\n"


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("bash", "false\ntrue\n", "ends with 1"),
        ("bash", "false | cat\n", "ends with 1"),
        ("bash", "echo $NOBODY\n", "NOBODY"),
        ("bash", "pip install 'pairscore[nothing]'\n", "no extra nothing"),
        ("bash", "make nothing\n", "no target nothing"),
        ("bash", "curl -s localhost:8000/score\n", "ends with"),
        ("python", "1 / 0\n", "ZeroDivisionError"),
        ("python", "raise SystemExit(0)\n", "SystemExit"),
        ("python", "import warnings\nwarnings.warn('old')\n", "old"),
    ],
)
def test_failures_are_seen(at: Desk, language: str, text: str, said: str) -> None:
    """The message has the place and the reason."""
    with pytest.raises(AssertionError, match=said):
        at.run(block("X", language=language), text)
