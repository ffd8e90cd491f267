"""Milvus' file mode: a folder that this process serves to itself, ended with its last user.

milvus-lite is a gRPC server in threads of this process. It asks for no key, so it listens on a Unix socket in a folder that
only this user may enter; where there are none, on 127.0.0.1. One server per folder: a second one would find it locked.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairscore.errors import (
    IndexBusyError,
    IndexCorruptError,
    IndexNotFoundError,
    MissingExtraError,
    SearchIndexError,
)

__all__ = ["FileServer", "borrow", "give_back"]

# The longest name of a Unix socket that every system takes.
_MAX_SOCKET_NAME = 100
# Milvus-lite's own threads for calls; the model is the slow part of a search.
_NUM_THREADS = 8
_GRACE_S = 2.0


@dataclass(kw_only=True, eq=False)
class FileServer:
    """A folder of Milvus data that is being served.

    Attributes:
        address: what a client connects to.
        writing: held while something is written; milvus-lite takes one writer at a time.
    """

    path: Path
    address: str
    server: Any
    database: Any
    sockets: Path | None
    num_users: int = 0
    writing: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """Let calls in flight end, then close the files."""
        self.server.stop(_GRACE_S).wait()
        self.database.close()
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)


_SERVERS: dict[Path, FileServer] = {}
_LOCK = threading.Lock()


def borrow(path: Path, *, create: bool) -> FileServer:
    """The server of a folder, started if this process has none yet; each `borrow` needs a `give_back`.

    Raises:
        IndexNotFoundError: there is no such folder, and `create` is false.
        IndexBusyError: another process has it open.
        IndexCorruptError: it is there, and no folder of milvus-lite.
        SearchIndexError: it cannot be opened or written.
        MissingExtraError: milvus-lite is not installed.
    """
    place = path.absolute()
    with _LOCK:
        server = _SERVERS.get(place)
        if server is None:
            if not create and not (place / "collections").is_dir():
                raise _absent(path)
            server = _SERVERS[place] = _start(place)
        server.num_users += 1
        return server


def give_back(server: FileServer) -> None:
    """The caller needs it no more; the last one stops it."""
    with _LOCK:
        server.num_users -= 1
        if server.num_users == 0:
            _SERVERS.pop(server.path, None)
            server.stop()


@atexit.register
def _stop_all() -> None:
    """A program that ends without closing leaves no folder locked and no socket behind."""
    with _LOCK:
        for server in _SERVERS.values():
            server.stop()
        _SERVERS.clear()


def _absent(path: Path) -> SearchIndexError:
    if path.exists():
        return IndexCorruptError(
            f"{path} is no folder of milvus-lite 3: either it is something else, or a file of an older milvus-lite, "
            "which this one cannot read; build the index anew at another place"
        )
    return IndexNotFoundError(f"there is no Milvus index at {path}; create it first")


def _start(place: Path) -> FileServer:
    try:
        from milvus_lite.adapter.grpc.server import start_server_in_thread
        from milvus_lite.exceptions import DataDirLockedError, MilvusLiteError
    except ImportError as error:
        raise MissingExtraError(feature="Milvus' file mode", extra="milvus") from error
    host, port, sockets = _listening()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        server, database, bound = start_server_in_thread(
            str(place), host=host, port=port, max_workers=_NUM_THREADS
        )
    except Exception as error:
        if sockets is not None:
            shutil.rmtree(sockets, ignore_errors=True)
        if isinstance(error, DataDirLockedError):
            raise IndexBusyError(
                f"{place} is open in another process; milvus-lite takes one process at a time: close it there, "
                "or use a Milvus server"
            ) from error
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise _absent(place) from error
        if isinstance(error, OSError | MilvusLiteError):
            raise SearchIndexError(f"cannot open the Milvus index {place}: {error}") from error
        raise
    address = f"unix:{port}" if sockets is not None else f"http://{host}:{bound}"
    return FileServer(
        path=place, address=address, server=server, database=database, sockets=sockets
    )


def _listening() -> tuple[str, str | int, Path | None]:
    """Host, port and the folder of the socket; gRPC writes a Unix socket's address as `unix:PATH`."""
    if sys.platform != "win32":
        sockets = Path(tempfile.mkdtemp(prefix="pairscore-"))
        name = str(sockets / "milvus.sock")
        if len(os.fsencode(name)) <= _MAX_SOCKET_NAME:
            return "unix", name, sockets
        with contextlib.suppress(OSError):
            sockets.rmdir()
    return "127.0.0.1", 0, None
