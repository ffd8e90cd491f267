"""The playground: the page at `/` and its files at `/page/...`, for people who look at the service in a browser.

It is static: what it shows it asks the service's own routes for, as any other client does, with the key that a
person gave it. So it is public to be read, and no access comes with it.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from pairscore.service.page.files import INDEX, SECURITY, accepts_gzip, is_known, page_files

__all__ = ["PAGE_PREFIX", "PAGE_ROUTE", "router"]

PAGE_PREFIX: Final = "/page/"
"""Where the page's files are; its own addresses are relative, so that it works behind a proxy's path too."""
PAGE_ROUTE: Final = f"{PAGE_PREFIX}{{path:path}}"
"""The template of their route."""

_NOT_FOUND: Final = 404
_NOT_MODIFIED: Final = 304
_READ: Final = ["GET", "HEAD"]

router = APIRouter()


@router.api_route("/", methods=_READ, include_in_schema=False)
async def playground(request: Request) -> Response:
    """The page."""
    return _sent(request, INDEX)


@router.api_route(PAGE_ROUTE, methods=_READ, include_in_schema=False)
async def page_file(request: Request, path: str) -> Response:
    """One of its files; the page itself is not among them, because its relative addresses hold at `/` alone."""
    if path == INDEX:
        raise HTTPException(_NOT_FOUND)
    return _sent(request, path)


def _sent(request: Request, name: str) -> Response:
    file = page_files().get(name)
    if file is None:
        raise HTTPException(_NOT_FOUND)
    zipped = file.compressed if accepts_gzip(request.headers.get("accept-encoding", "")) else None
    tag = file.tag(zipped=zipped is not None)
    headers = {**SECURITY, "ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if is_known(tag, request.headers.get("if-none-match", "")):
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    if zipped is not None:
        headers["Content-Encoding"] = "gzip"
    content = file.content if zipped is None else zipped
    # The server leaves the body of an answer to HEAD out; other servers do not.
    body = b"" if request.method == "HEAD" else content
    headers["Content-Length"] = str(len(content))
    return Response(body, headers=headers, media_type=file.media_type)
