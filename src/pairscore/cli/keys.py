"""`pairscore keys`: make, list and revoke the API keys of the HTTP service."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pairscore.cli import options, output
from pairscore.errors import InputFileError, OutputFileError
from pairscore.files import places

if TYPE_CHECKING:
    from pairscore.service.key_files import ApiKey

__all__ = ["HELP", "app"]

HELP = """Make, list and revoke the API keys of the HTTP service.

Examples:

  pairscore keys new search-team --file keys.toml --requests-per-minute 600
  pairscore serve --keys-file keys.toml
  pairscore keys list --file keys.toml
  pairscore keys revoke search-team --file keys.toml

A file of keys holds hashes, never a key. A running service reads it again
when it gets SIGHUP. It needs the extra serve: pip install 'pairscore\\[serve]'"""

NEW_HELP = """Make a key: it is printed once, on standard output, and stored nowhere.

With --file its hash is added to the file; without it, the lines for the file
and for the environment are printed on standard error.

Examples:

  pairscore keys new search-team --file keys.toml
  pairscore keys new batch --file keys.toml --tokens-per-minute 1000000
  KEY=$(pairscore keys new search-team --file keys.toml)"""

LIST_HELP = """List the keys of a file: names, limits, and which are revoked.

Examples:

  pairscore keys list --file keys.toml
  pairscore keys list --file keys.toml --json"""

REVOKE_HELP = """Revoke a key: it is refused from the next reload on; its name stays known.

Example:

  pairscore keys revoke search-team --file keys.toml"""

_PRIVATE: Final = 0o600
_LOCK_S: Final = 10.0
_RETRY_S: Final = 0.02
_RELOAD = "a running service reads the file again on SIGHUP: kill -HUP PID"

app = typer.Typer(
    name="keys",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="What logs and metrics call the key; no secret."),
]
FileOption = Annotated[
    str,
    typer.Option("--file", "-f", metavar="FILE", help="The keys file (TOML) of the service."),
]


def _per_minute(what: str) -> Any:
    return typer.Option(min=1, metavar="N", help=f"{what} a minute. Without it, no limit.")


@app.command("new", help=NEW_HELP)
def new(
    name: NameArgument,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Add the key to this file; made if it is missing."
        ),
    ] = None,
    requests_per_minute: Annotated[int | None, _per_minute("Requests")] = None,
    tokens_per_minute: Annotated[int | None, _per_minute("Tokens that the model reads")] = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Make a key; `NEW_HELP` is what the user reads."""
    # Here and below, because the service is an extra, and says so itself if it is missing.
    from pairscore.service import key_files
    from pairscore.service.quotas import Quota

    secret = key_files.make_key()
    key = key_files.ApiKey(
        name=name,
        digest=key_files.digest_of(secret),
        created=datetime.now(UTC),
        quota=Quota(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute),
    )
    if file is None:
        # The file's own checks, before a key is shown that nobody could use.
        block = key_files.with_key("", key, where="the new key")
        told = _without_file(name, key, block)
    else:
        with _edited(file):
            text = key_files.with_key(_text(file) if Path(file).exists() else "", key, where=file)
            _replace(file, text)
        told = (
            "this is the only time that the key is shown: give it to its user now. Its hash is in "
            f"{file} as {name!r}; {_RELOAD}"
        )
    if as_json:
        output.print_json({**_facts(key), "key": secret, "hash": _hash(key), "file": file})
    else:
        output.say(secret)
    if not quiet:
        output.note(told)


@app.command("list", help=LIST_HELP)
def list_keys(
    file: FileOption, as_json: options.JsonOption = False, quiet: options.QuietOption = False
) -> None:
    """List the keys of a file; `LIST_HELP` is what the user reads."""
    del quiet  # there is nothing to tell but the keys
    from pairscore.service.key_files import parse_file

    keys = parse_file(_text(file), where=file)
    if as_json:
        output.print_json([_facts(key) for key in keys])
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "state", "created"):
        table.add_column(heading, no_wrap=True)
    for heading in ("requests a minute", "tokens a minute"):
        table.add_column(heading, justify="right")
    for key in keys:
        table.add_row(
            key.name,
            "revoked" if key.revoked else "active",
            f"{key.created:%Y-%m-%d %H:%M}" if key.created is not None else "",
            _limit(key.quota.requests_per_minute),
            _limit(key.quota.tokens_per_minute),
        )
    output.print_table(table)


@app.command("revoke", help=REVOKE_HELP)
def revoke(
    name: NameArgument,
    *,
    file: FileOption,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Revoke a key; `REVOKE_HELP` is what the user reads."""
    from pairscore.service.key_files import parse_file, with_revoked

    with _edited(file):
        text = _text(file)
        is_new = not any(key.revoked for key in parse_file(text, where=file) if key.name == name)
        if is_new:
            _replace(file, with_revoked(text, name, where=file))
    if as_json:
        output.print_json({"name": name, "revoked": True, "is_new": is_new, "file": file})
    if quiet:
        return
    if is_new:
        output.note(f"{name!r} is revoked in {file}; {_RELOAD}")
    else:
        output.note(f"{name!r} is revoked already; {file} stays as it is")


def _without_file(name: str, key: ApiKey, block: str) -> str:
    from pairscore.service.settings import ENV_PREFIX, option

    return (
        "this is the only time that the key is shown: give it to its user now. To let it in, add this "
        f"to the service's keys file ({option('keys_file')}):\n\n{block}\n"
        f"or, without quotas, this to {ENV_PREFIX}API_KEYS:\n\n{name}={_hash(key)}"
    )


def _hash(key: ApiKey) -> str:
    """What a file of keys, or the environment, holds of it."""
    return f"sha256:{key.digest.hex()}"


def _facts(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "revoked": key.revoked,
        "created": key.created.isoformat() if key.created is not None else None,
        "requests_per_minute": key.quota.requests_per_minute,
        "tokens_per_minute": key.quota.tokens_per_minute,
    }


def _limit(value: int | None) -> str:
    return f"{value:,}" if value is not None else "no limit"


def _text(path: str) -> str:
    file = places.open_source(path)
    try:
        return file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{path!r} is not UTF-8 at byte {error.start}; write it in UTF-8"
        ) from None
    except OSError as error:
        raise InputFileError(f"{path!r} cannot be read: {error.strerror or error}") from error
    finally:
        places.close(file)


@contextlib.contextmanager
def _edited(path: str) -> Iterator[None]:
    """Nobody else edits the file meanwhile.

    The lock is on the folder, because the file itself is replaced. It leaves nothing behind.

    Raises:
        OutputFileError: the path is no file, its folder is missing, or it is locked for too long.
    """
    places.check_target(path, source=places.STANDARD, overwrite=True)
    target = Path(path)
    if path == places.STANDARD or (target.exists() and not target.is_file()):
        raise OutputFileError(f"{path!r} is no file that can be replaced; name one with --file")
    if sys.platform == "win32":
        # Its folders cannot be locked.
        yield
        return
    with _opened(target.resolve().parent) as folder:
        _lock(folder, path)
        yield


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputFileError(
            f"the folder {str(folder)!r} cannot be opened: {error.strerror}; run this as its owner"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(folder: int, path: str) -> None:
    import fcntl

    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise OutputFileError(
                    f"another process has been editing {path!r} for {_LOCK_S:g} s; try again later"
                ) from error
            time.sleep(_RETRY_S)
        else:
            return


def _replace(path: str, text: str) -> None:
    """Put a new text in the place of the file in one step: a crash leaves the old one or the new one.

    A new file is its owner's alone; an old one keeps its owner and its mode.

    Raises:
        OutputFileError: it cannot be written.
    """
    # A link stays a link.
    target = Path(path).resolve()
    draft: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        draft = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        _dress(draft, target)
        draft.replace(target)
    except OSError as error:
        raise OutputFileError(
            f"{path!r} cannot be written: {error.strerror or error}; nothing was changed"
        ) from error
    finally:
        # Gone already, if it has taken its place.
        if draft is not None:
            draft.unlink(missing_ok=True)
    # Its new name is on the disk too, where the file system can promise that.
    if sys.platform != "win32":
        with contextlib.suppress(OSError), _opened(target.parent) as folder:
            os.fsync(folder)


def _dress(draft: Path, target: Path) -> None:
    """Give a draft the owner and the mode of the file that it replaces."""
    try:
        old = target.stat()
    except FileNotFoundError:
        draft.chmod(_PRIVATE)
        return
    mine = draft.stat()
    # The service must still be able to read what its administrator wrote for it.
    if sys.platform != "win32" and (old.st_uid, old.st_gid) != (mine.st_uid, mine.st_gid):
        os.chown(draft, old.st_uid, old.st_gid)
    draft.chmod(stat.S_IMODE(old.st_mode))
