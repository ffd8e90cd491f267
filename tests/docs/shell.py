"""What a block of shell says: its commands, word by word; as much of the shell's grammar as the pages use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Command", "Session", "commands_in", "console_sessions", "statements"]

_OPERATORS = re.compile(r"&&|\|\||;;|>>|<<|[;|&()\n<>]")
_REDIRECTIONS = frozenset({">", ">>", "<"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
# Words behind which a command stands, and those that are none themselves.
_KEYWORDS = frozenset({"then", "else", "do", "!", "time", "sudo", "exec", "env"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One simple command: its words, without quotes, redirections and assignments before it."""

    line: int
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Of a terminal as a page shows it: what was typed, and what came."""

    typed: str
    shown: str


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int
    is_operator: bool


def commands_in(text: str) -> tuple[Command, ...]:
    """The commands of a block, those within `$(...)` too, in their order."""
    return tuple(_commands(_without_heredocs(text)))


def console_sessions(text: str) -> tuple[Session, ...]:
    """A block of `console`, cut at its prompts: lines that begin with `$ ` and, while they are unfinished, `> `."""
    found: list[list[list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append([[line[2:]], []])
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1][0].append(line[2:])
        elif found and not found[-1][1] and found[-1][0][-1].endswith("\\"):
            found[-1][0].append(line)
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            raise ValueError(f"a block of console begins with a prompt, and not with {line!r}")
    return tuple(Session(typed="\n".join(one), shown="\n".join(other)) for one, other in found)


def statements(text: str) -> tuple[str, ...]:
    """A block cut where a shell would go on: after lines that end a command, and not within a quote or a loop."""
    found, held = [], ""
    for line in text.splitlines():
        held += line + "\n"
        if _is_whole(held):
            found.append(held)
            held = ""
    if held:
        raise ValueError(f"a command has no end: {held!r}")
    return tuple(found)


def _is_whole(text: str) -> bool:
    if text.endswith("\\\n"):
        return False
    heredoc = _HEREDOC.search(text)
    if heredoc and heredoc[2] not in [line.strip() for line in text.splitlines()[1:]]:
        return False
    try:
        words = [command.words[0] for command in commands_in(text)]
    except ValueError:
        return False
    inner = sum(word in ("for", "while", "if") for word in words)
    return inner <= sum(word in ("done", "fi") for word in words)


def _without_heredocs(text: str) -> str:
    """The text with what is fed to a command left empty."""
    kept, ends = [], ""
    for line in text.splitlines():
        if ends:
            kept.append("")
            ends = "" if line.strip() == ends else ends
            continue
        found = _HEREDOC.search(line)
        ends = found[2] if found else ""
        kept.append(_HEREDOC.sub("", line))
    return "\n".join(kept) + "\n"


def _commands(text: str, *, first_line: int = 1) -> Iterator[Command]:
    words: list[str] = []
    line, skip = first_line, False
    for token in [*_tokens(text, first_line), _Token("\n", 0, is_operator=True)]:
        if token.is_operator and token.text in _REDIRECTIONS:
            skip = True
        elif token.is_operator:
            if words:
                yield Command(line=line, words=tuple(words))
            words, skip = [], False
        else:
            yield from _inner(token)
            line = line if words else token.line
            if not skip and (words or not _leads_in(token.text)):
                words.append(token.text)
            skip = False


def _leads_in(word: str) -> bool:
    """Whether a command stands behind it, and has not begun yet."""
    return word in _KEYWORDS or _ASSIGNMENT.match(word) is not None


def _inner(token: _Token) -> Iterator[Command]:
    """The commands of `$(...)` within a word."""
    for start in (found.end() for found in re.finditer(r"\$\((?!\()", token.text)):
        depth, end = 1, start
        while depth and end < len(token.text):
            depth += {"(": 1, ")": -1}.get(token.text[end], 0)
            end += 1
        yield from _commands(token.text[start : end - 1], first_line=token.line)


def _tokens(text: str, first_line: int) -> Iterator[_Token]:
    at, line = 0, first_line
    while at < len(text):
        if text.startswith("\\\n", at):
            at, line = at + 2, line + 1
        elif text[at] in " \t":
            at += 1
        elif text[at] == "#":
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
        elif operator := _OPERATORS.match(text, at):
            yield _Token(operator[0], line, is_operator=True)
            at, line = operator.end(), line + operator[0].count("\n")
        else:
            word, end = _word(text, at)
            yield _Token(word, line, is_operator=False)
            line += text.count("\n", at, end)
            at = end


def _word(text: str, at: int) -> tuple[str, int]:
    """A word without its quotes, and where it ends."""
    parts = []
    while at < len(text):
        if text[at] in "'\"":
            part, at = _quoted(text, at)
            parts.append(part)
        elif text.startswith("$(", at):
            end = _closing(text, at + 2)
            parts.append(text[at:end])
            at = end
        elif text[at] == "\\":
            parts.append(text[at + 1 : at + 2].replace("\n", ""))
            at += 2
        elif text[at] in " \t" or _OPERATORS.match(text, at):
            break
        else:
            parts.append(text[at])
            at += 1
    return "".join(parts), at


def _quoted(text: str, at: int) -> tuple[str, int]:
    quote, start = text[at], at + 1
    at = start
    while at < len(text) and text[at] != quote:
        at += 2 if quote == '"' and text[at] == "\\" else 1
    if at >= len(text):
        raise ValueError(f"a quote has no end: {text[start - 1 : start + 60]!r}")
    inner = text[start:at]
    return (re.sub(r"\\([\"\\$`])", r"\1", inner) if quote == '"' else inner), at + 1


def _closing(text: str, at: int) -> int:
    depth = 1
    while at < len(text) and depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at
