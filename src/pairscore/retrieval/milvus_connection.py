"""One connection to Milvus: opened, used by many threads, closed; its errors become ours here, and nowhere else."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, Final

from pairscore.errors import ClosedError, IndexNotFoundError, MissingExtraError, SearchIndexError
from pairscore.retrieval.milvus_file import FileServer, borrow, give_back
from pairscore.retrieval.milvus_place import MilvusPlace

__all__ = ["Connection"]

# It writes every failed call with its traceback, and what was asked, to standard error; each one is raised here as well.
_LOGGERS: Final = ("pymilvus", "pymilvus.milvus_client", "milvus_lite")
_NO_COLLECTION: Final = 100
_UNREACHABLE: Final = 2
_DENIED: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_LATE: Final = ("DEADLINE_EXCEEDED", "Retry timeout")
_MAX_REASON: Final = 300


class Connection:
    """A client of one collection's server.

    Args:
        place: where it is.
        create: a folder that is not there yet is made.

    Raises:
        SearchIndexError: nobody answers, or the folder cannot be opened.
        MissingExtraError: pymilvus, or milvus-lite for a folder, is not installed.
    """

    def __init__(self, place: MilvusPlace, *, create: bool) -> None:
        self.place = place
        self._server: FileServer | None = None
        self._lock = threading.Lock()
        self._closed = False
        client = _client_class()
        if not place.is_server:
            self._server = borrow(place.path, create=create)
        try:
            with self._translated("connecting"):
                self.client = client(
                    uri=place.uri if self._server is None else self._server.address,
                    token=place.token,
                    db_name=place.database,
                    timeout=place.timeout_s,
                    # One that is shared would stay open after it is closed.
                    dedicated=True,
                )
        except BaseException:
            self.close()
            raise

    def call(self, name: str, **arguments: Any) -> Any:
        """What the client's method `name` gives for the collection.

        Raises:
            ClosedError: after `close`.
            SearchIndexError: Milvus refused or did not answer in time.
        """
        if self._closed:
            raise ClosedError(f"{self.place} was closed; open it again")
        with self._translated(name.replace("_", " ")):
            return getattr(self.client, name)(
                self.place.collection, timeout=self.place.timeout_s, **arguments
            )

    def writing(self) -> contextlib.AbstractContextManager[object]:
        """Held around a write; a server takes several at once, file mode one."""
        return contextlib.nullcontext() if self._server is None else self._server.writing

    def close(self) -> None:
        """Close the connection, and end file mode's server if nobody else in this process uses it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            if hasattr(self, "client"):
                self.client.close()
        finally:
            if self._server is not None:
                give_back(self._server)

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        # gRPC comes with pymilvus, which lets some of its errors through.
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, RpcError, ValueError) as error:
            if self._closed and doing != "connecting":
                raise ClosedError(f"{self.place} was closed while it was used") from error
            raise self._meaning(error, doing) from error

    def _meaning(self, error: Exception, doing: str) -> SearchIndexError:
        # gRPC's code is a method, pymilvus' a number or one of gRPC's.
        code: Any = getattr(error, "code", 1)
        code = code() if callable(code) else code
        name = getattr(code, "name", "")
        reason = str(
            getattr(error, "message", "") or getattr(error, "details", lambda: "")() or error
        )
        place, seconds = self.place, self.place.timeout_s
        if code == _NO_COLLECTION:
            return IndexNotFoundError(f"there is no {place}; create it first")
        if name in _DENIED or "auth check failure" in reason:
            return SearchIndexError(
                f"{place}: the server refuses the token; check the key, or user:password, and its rights"
            )
        if name in _LATE or any(word in reason for word in _LATE):
            return SearchIndexError(
                f"{place}: no answer within {seconds:g} s ({doing}); see whether the server is well, or raise timeout_s"
            )
        if code == _UNREACHABLE or name == "UNAVAILABLE":
            return SearchIndexError(
                f"{place}: no Milvus server answers there ({doing}); check host and port, and that it runs"
            )
        return SearchIndexError(
            f"{place}: Milvus failed ({doing}): {self._clean(reason)} (code {code})"
        )

    def _clean(self, reason: str) -> str:
        """The reason's first line, short, and without the token."""
        line = next(iter(reason.splitlines()), "")[:_MAX_REASON]
        # The whole first: without its password the user would stand there.
        for secret in (self.place.token, self.place.token.rpartition(":")[2]):
            line = line.replace(secret, "***") if secret else line
        return line


def _client_class() -> Any:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise MissingExtraError(feature="a Milvus index", extra="milvus") from error
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MilvusClient
