"""The playground's files, read once: their types, their tags, their compressed copies, and what of them a request gets.

Nothing of the disk is looked at for a request, so no path in it can lead anywhere: a name is a key of a table.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["INDEX", "SECURITY", "PageFile", "accepts_gzip", "is_known", "page_files"]

INDEX: Final = "index.html"
"""The file that is the page; the others are what it asks for."""

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
_POLICY: Final[Mapping[str, str]] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "font-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_UNUSED: Final = (
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "fullscreen"),
    *("geolocation", "gyroscope", "magnetometer", "microphone", "midi", "payment"),
    *("picture-in-picture", "publickey-credentials-get", "screen-wake-lock", "usb"),
    "xr-spatial-tracking",
)
SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in _UNUSED),
}
"""What each file is sent with: a browser runs and loads nothing that is not this server's own."""

# RFC 9110, section 8.8.3: what stands between the quotes, without what says that a tag is weak.
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_ZERO: Final = re.compile(r"0(?:\.0{0,3})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFile:
    """One file in memory.

    Attributes:
        content: its bytes.
        compressed: the same with gzip; None where that is no smaller.
        media_type: what it is.
        sha256: of its bytes, in hex.
    """

    content: bytes
    compressed: bytes | None
    media_type: str
    sha256: str

    @classmethod
    def of(cls, content: bytes, *, media_type: str) -> PageFile:
        """A file with its digest and its compressed copy."""
        # Without the time, so that every replica has the same bytes under the same tag.
        smaller = gzip.compress(content, compresslevel=9, mtime=0)
        return cls(
            content=content,
            compressed=smaller if len(smaller) < len(content) else None,
            media_type=media_type,
            sha256=hashlib.sha256(content).hexdigest(),
        )

    def tag(self, *, zipped: bool) -> str:
        """The strong ETag of one of its two forms, which differ in their bytes and so in their tags."""
        return f'"{self.sha256}-gzip"' if zipped else f'"{self.sha256}"'


@cache
def page_files() -> Mapping[str, PageFile]:
    """Every file by its name below the folder, with slashes; read at the first call, and never again."""
    return dict(_read(_FOLDER))


def _read(folder: Path) -> Iterator[tuple[str, PageFile]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        # Of what an editor leaves behind nothing is served.
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and path.suffix in _TYPES and not hidden:
            content = path.read_bytes()
            yield name.as_posix(), PageFile.of(content, media_type=_TYPES[path.suffix])


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding takes gzip; what it names counts before its star (RFC 9110, section 12.5.3)."""
    weights = {}
    for entry in header.lower().split(","):
        name, _, parameters = entry.partition(";")
        weights[name.strip()] = parameters.strip().removeprefix("q=").strip()
    weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", "0")))
    return _ZERO.fullmatch(weight) is None


def is_known(tag: str, header: str) -> bool:
    """Whether an If-None-Match names the tag; weak ones compare as strong ones (RFC 9110, section 13.1.2)."""
    return header.strip() == "*" or tag in _TAG.findall(header)
