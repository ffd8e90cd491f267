"""Where a Milvus collection is: a server or a folder, its key, its database and its name, and how that is written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pairscore.errors import SettingError

__all__ = ["MilvusPlace", "is_milvus", "without_token"]

DEFAULT_COLLECTION: Final = "pairscore"
DEFAULT_TIMEOUT_S: Final = 10.0

_FORMS: Final = (
    "write milvus:FILE.db for a folder of this machine, or milvus+http://HOST:19530/COLLECTION "
    "(milvus+https: with a certificate) for a server"
)
_PREFIX: Final = "milvus"
_SERVER: Final = re.compile(r"(https?|tcp)://|unix:", re.IGNORECASE)
_COLLECTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
# Greedy, because a password may hold an @ itself.
_USER: Final = re.compile(r"(?<=//)[^/?#]*@")
_OPTIONS: Final = frozenset({"collection", "database", "timeout_s"})


def is_milvus(uri: str) -> bool:
    """Whether a URI names a Milvus collection; what begins otherwise is another retriever's."""
    return uri.startswith((f"{_PREFIX}:", f"{_PREFIX}+"))


def without_token(uri: str) -> str:
    """A place as messages, files and reports may show it; one without a token stays as it is."""
    return _USER.sub("***@", uri)


@dataclass(frozen=True, kw_only=True, slots=True)
class MilvusPlace:
    """One collection.

    Attributes:
        uri: the server, as ``http://HOST:PORT``, or a folder for file mode, by convention ``NAME.db``.
        collection: its name there.
        token: an API key, or ``USER:PASSWORD``; it is in no message and no representation.
        database: one of the server's databases; empty for its default.
        timeout_s: seconds after which a call is given up; a lost connection is made anew within them.

    Raises:
        SettingError: a value makes no sense.
    """

    uri: str
    collection: str = DEFAULT_COLLECTION
    token: str = field(default="", repr=False)
    database: str = ""
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        if not self.uri:
            raise SettingError(f"a Milvus URI is empty; {_FORMS}")
        if "@" in self.uri and self.is_server:
            raise SettingError(
                "a Milvus URI has a user in it, which messages would show; give it as token instead"
            )
        if not _COLLECTION.fullmatch(self.collection):
            raise SettingError(
                f"{self.collection!r} is no name of a Milvus collection: letters, digits and _ only, "
                "not a digit first, at most 255"
            )
        if not (self.timeout_s > 0 and math.isfinite(self.timeout_s)):
            raise SettingError(f"timeout_s is {self.timeout_s}; give seconds above 0")

    @classmethod
    def parse(cls, uri: str, *, token: str = "") -> MilvusPlace:
        """Read ``milvus:FILE.db`` or ``milvus+http://[TOKEN@]HOST:PORT[/COLLECTION]``, either with ``?NAME=VALUE``.

        Options are ``collection``, ``database`` and ``timeout_s``. A name and password, or a key, may stand before the
        host as in any URL; a `token` that is given apart counts more.

        Raises:
            SettingError: it is written otherwise.
        """
        scheme, _, rest = uri.partition(":")
        transport = scheme.removeprefix(_PREFIX).removeprefix("+")
        address, _, query = rest.partition("?")
        if not is_milvus(uri) or transport not in ("", "http", "https") or not address:
            raise SettingError(f"{scheme + ':'!r} begins no Milvus URI that is known; {_FORMS}")
        options = _options(query)
        collection = options.get("collection", "")
        if transport:
            address, named, user = _server(transport, address)
            collection, token = collection or named, token or user
        return cls(
            uri=address,
            collection=collection or DEFAULT_COLLECTION,
            token=token,
            database=options.get("database", ""),
            timeout_s=_seconds(options.get("timeout_s")),
        )

    @property
    def is_server(self) -> bool:
        """Whether somebody else serves it; otherwise this process does, from a folder."""
        return _SERVER.match(self.uri) is not None

    @property
    def path(self) -> Path:
        """The folder of file mode."""
        return Path(self.uri)

    def __str__(self) -> str:
        database = f"{self.database}/" if self.database else ""
        return f"collection {database}{self.collection} at {self.uri}"


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise SettingError(
            f"a Milvus URI has no option {unknown[0]!r}; known: {', '.join(sorted(_OPTIONS))}"
        )
    return options


def _seconds(written: str | None) -> float:
    try:
        return DEFAULT_TIMEOUT_S if written is None else float(written)
    except ValueError:
        raise SettingError(f"timeout_s is {written!r}; give seconds above 0") from None


def _server(transport: str, address: str) -> tuple[str, str, str]:
    """Address, collection and user of what stands behind `milvus+http:`; the last two may be empty."""
    try:
        parts = urlsplit(f"{transport}:{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SettingError(f"a Milvus URI has no host, or a port that is no number; {_FORMS}")
    host = f"[{host}]" if ":" in host else host
    server = f"{transport}://{host}" + (f":{port}" if port else "")
    return server, unquote(parts.path.strip("/")), unquote(parts.netloc.rpartition("@")[0])
