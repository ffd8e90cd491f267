"""The page at `/` and its files: whole, small, strict, cached by their tags, and open without a key."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pairscore.road.road import open_road
from pairscore.service.app import create_app
from pairscore.service.page import files
from pairscore.service.page.files import accepts_gzip, is_known, page_files
from pairscore.service.settings import ServiceSettings

FOLDER = Path(files.__file__).parent / "static"
MAX_BYTES = 300_000
NAMES = sorted(page_files())
TEXTS = [name for name in NAMES if PurePosixPath(name).suffix in {".html", ".js", ".css", ".svg"}]
SECRET = "good-good-good-good"
# Names of kinds of XML, which nothing is fetched from.
NAMESPACES = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")


def _text(name: str) -> str:
    return page_files()[name].content.decode("utf-8")


def _address(name: str) -> str:
    return "/" if name == "index.html" else f"/page/{name}"


class _Tags(HTMLParser):
    """What a page is made of: its tags with their attributes, and the text within scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in {"script", "style"}:
            self.inline += data.strip()


def _loads(name: str) -> list[str]:
    """The addresses that a browser fetches for a file, as they are written in it."""
    text = _text(name)
    suffix = PurePosixPath(name).suffix
    if suffix == ".js":
        return re.findall(r"""(?:\bfrom\s+|\bimport\s*\(?\s*)["']([^"']+)["']""", text)
    if suffix == ".css":
        return re.findall(r"""(?:url\(|@import\s+)["']?([^"')]+)""", text)
    return [
        given[key]
        for tag, given in _Tags(text).tags
        if tag not in {"a", "use"}
        for key in ("src", "href")
        if key in given
    ]


def _styles(name: str) -> list[str]:
    """The style sheets that a script adds to the page, whose addresses it makes of their names."""
    return [f"/page/css/{sheet}.css" for sheet in re.findall(r'loadStyle\("(\w+)"\)', _text(name))]


@pytest.fixture(scope="module")
def visitor() -> Iterator[TestClient]:
    """A client of one server, for those who only read its files."""
    with (
        closing(open_road(backend="fake")) as road,
        TestClient(create_app(ServiceSettings(), road=road)) as client,
    ):
        yield client


def test_every_file_is_served() -> None:
    """What lies in the folder is there under its name, and nothing of another kind lies in it."""
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}

    assert there == set(NAMES)
    assert "index.html" in there


def test_the_page_is_small() -> None:
    """All files together, as they are before they are compressed."""
    assert sum(len(file.content) for file in page_files().values()) < MAX_BYTES


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_file_loads_is_there(visitor: TestClient, name: str) -> None:
    """By relative addresses, so that the page works below any path; and nothing comes from elsewhere."""
    for address in _loads(name):
        if address.startswith(("data:", "#")):
            continue
        assert not address.startswith(("/", "http:", "https:")), address
        if PurePosixPath(name).suffix == ".js":
            assert address.startswith(("./", "../")), address
        found = visitor.get(urljoin(_address(name), address), follow_redirects=False)
        assert found.status_code == 200, address
    for address in _styles(name):
        assert visitor.get(address).status_code == 200, address


def test_no_file_is_forgotten() -> None:
    """Each one is asked for by the page, or by what the page asks for."""
    found: set[str] = set()
    waiting = {"/"}
    while waiting:
        address = waiting.pop()
        found.add(address)
        name = "index.html" if address == "/" else address.removeprefix("/page/")
        if name in TEXTS:
            loaded = {urljoin(address, one) for one in _loads(name) if not one.startswith("data:")}
            waiting |= {one for one in loaded if "#" not in one} | {*_styles(name)}
            waiting -= found

    assert found >= {_address(name) for name in NAMES}


@pytest.mark.parametrize("name", TEXTS)
def test_no_file_needs_a_weaker_policy(name: str) -> None:
    """No script or style within the page, no attribute that is one, nothing that turns text into elements."""
    text = _text(name)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    if name.endswith((".html", ".svg")):
        page = _Tags(text)
        assert page.inline == ""
        for _, given_ in page.tags:
            assert not [key for key in given_ if key == "style" or key.startswith("on")]


@pytest.mark.parametrize("name", TEXTS)
def test_addresses_elsewhere_are_links(name: str) -> None:
    """What is not this server's is for people to follow, and never fetched."""
    text = _text(name)
    for namespace in NAMESPACES:
        text = text.replace(namespace, "")
    if name.endswith(".html"):
        links = [given_.get("href", "") for tag, given_ in _Tags(text).tags if tag == "a"]
        for link in links:
            text = text.replace(link, "") if "//" in link else text
        assert "://" not in text
    elif name.endswith((".css", ".svg")):
        assert "://" not in text
    else:
        for call in re.findall(r"(?:fetch|import|Worker|EventSource|WebSocket)\s*\(([^)]*)", text):
            assert "//" not in call


@pytest.mark.parametrize("name", NAMES)
def test_a_file_and_its_headers(visitor: TestClient, name: str) -> None:
    """Its bytes, its kind, its tag, and what a browser may do with it."""
    plain = visitor.get(_address(name), headers={"Accept-Encoding": "identity"})

    assert plain.status_code == 200
    assert plain.content == (FOLDER / name).read_bytes()
    assert plain.headers["etag"] == f'"{hashlib.sha256(plain.content).hexdigest()}"'
    assert plain.headers["cache-control"] == "no-cache"
    assert plain.headers["vary"] == "Accept-Encoding"
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert plain.headers["referrer-policy"] == "no-referrer"
    assert plain.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in plain.headers["permissions-policy"]
    policy = dict(part.strip().split(" ", 1) for part in _policy(plain).split(";"))
    assert policy == {
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
    kinds = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
    kind = kinds.get(PurePosixPath(name).suffix)
    assert kind is None or plain.headers["content-type"] == f"{kind}; charset=utf-8"


def _policy(response: Any) -> str:
    policy: str = response.headers["content-security-policy"]
    return policy


def test_a_file_is_compressed_for_those_who_take_it(client: TestClient) -> None:
    """The same bytes for everybody in the end; both forms have tags of their own."""
    plain = client.get("/", headers={"Accept-Encoding": "identity"})
    with client.stream("GET", "/", headers={"Accept-Encoding": "br, gzip;q=0.5"}) as zipped:
        raw = b"".join(zipped.iter_raw())

    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert len(raw) == int(zipped.headers["content-length"]) < len(plain.content)
    assert gzip.decompress(raw) == plain.content
    assert zipped.headers["etag"] != plain.headers["etag"]
    assert zipped.headers["vary"] == "Accept-Encoding"


def test_what_a_browser_has_is_not_sent_again(client: TestClient) -> None:
    """With its tag, weak or strong, alone or among others; the other form's tag is none of this one."""
    for encoding in ("identity", "gzip"):
        whole = client.get("/", headers={"Accept-Encoding": encoding})
        tag = whole.headers["etag"]
        for given_ in (tag, f'"x", W/{tag}', "*"):
            asked = {"Accept-Encoding": encoding, "If-None-Match": given_}
            again = client.get("/", headers=asked)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert "content-type" not in again.headers
            assert _policy(again) == _policy(whole)
        other = client.get("/", headers={"Accept-Encoding": encoding, "If-None-Match": '"x"'})
        assert other.status_code == 200


@pytest.mark.parametrize("path", ["/", "/page/icon.svg"])
def test_the_head_alone(visitor: TestClient, path: str) -> None:
    """HEAD says what GET says, without the body."""
    whole, head = visitor.get(path), visitor.head(path)

    assert (head.status_code, head.content) == (200, b"")
    without_id = [
        {name: value for name, value in one.headers.items() if name != "x-request-id"}
        for one in (whole, head)
    ]
    assert without_id[0] == without_id[1]


@pytest.mark.parametrize(
    "path",
    [
        *("/page/", "/page/nothing.js", "/page/index.html", "/page/js", "/page/js/"),
        *("/page/../page/icon.svg", "/page/%2e%2e/files.py", "/page//icon.svg", "/page/icon.svg/"),
        *("/page/ICON.SVG", "/page/icon.svg%00", "/page/..%5cfiles.py", "/page/static/icon.svg"),
    ],
)
def test_what_is_no_file(visitor: TestClient, problem: Any, path: str) -> None:
    """A name is one of the table, exactly, or an error of the one shape."""
    with visitor.stream("GET", path) as response:
        response.read()

    if response.status_code != 200:
        assert problem(response, 404)["type"] == "NotFoundError"
    else:
        # A client's own tidying of the path.
        assert str(response.url).endswith("/page/icon.svg")


def test_it_is_read_without_a_key(make_client: Any) -> None:
    """The page and its files; what it asks the service for needs one, and so does everything that is no file."""
    client = make_client(api_keys=f"good={SECRET}")

    for name in NAMES:
        assert client.get(_address(name)).status_code == 200
        assert client.post(_address(name)).status_code == 401
    assert client.get("/info").status_code == 401
    assert client.get("/page").status_code == 401


def test_behind_a_proxys_path() -> None:
    """What a proxy put before the path changes nothing: the page's own addresses are relative."""
    road = open_road(backend="fake")
    app = create_app(ServiceSettings(), road=road)
    with TestClient(app, root_path="/tools/rerank") as client:
        assert client.get("/tools/rerank/").status_code == 200
        assert client.get("/tools/rerank/page/icon.svg").status_code == 200
        assert client.get("/tools/rerank/docs").status_code == 200
    road.close()


def test_metrics_name_the_route(client: TestClient) -> None:
    """By its template, whatever file was asked for; so do the files of /docs."""
    for path in ("/", "/page/icon.svg", "/page/nothing", "/docs-files/swagger-ui.css"):
        client.get(path)

    counted = client.get("/metrics").text
    for route, status in (
        *(("/", 200), ("/page/{path:path}", 200), ("/page/{path:path}", 404)),
        ("/docs-files", 200),
    ):
        assert f'pairscore_requests_total{{route="{route}",status="{status}"}} 1.0' in counted
    assert 'route="unmatched"' not in counted


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        *(("gzip", True), ("GZIP", True), ("br, gzip", True), ("*", True), ("x-gzip", True)),
        *(("gzip;q=0.1", True), ("gzip; q=1.000", True), ("deflate, *;q=0.5", True)),
        *(("", False), ("identity", False), ("br", False), ("gzip;q=0", False)),
        *(("gzip;q=0.000", False), ("gzip; q=0.0, *", False), ("*;q=0", False), ("gzipped", False)),
    ],
)
def test_who_takes_gzip(header: str, expected: bool) -> None:  # noqa: FBT001 - pytest's
    """By the header's own words: a weight of zero is a no, and a name counts before the star."""
    assert accepts_gzip(header) is expected


@given(st.text(max_size=60))
def test_any_header_is_an_answer(text: str) -> None:
    """Nothing that a client sends breaks the reading of its headers."""
    assert accepts_gzip(text) in {True, False}
    assert is_known('"tag"', text) == (text.strip() == "*" or '"tag"' in text)


def test_the_modules_of_the_first_tab_are_asked_for_at_once() -> None:
    """The list in the page is what its first tab imports, so that nothing is fetched twice or one after the other."""
    scripts = FOLDER / "js"
    found: set[Path] = set()

    def walk(module: Path) -> None:
        if module in found:
            return
        found.add(module)
        for name in re.findall(r'from "(\.[^"]+)"', module.read_text(encoding="utf-8")):
            walk((module.parent / name).resolve())

    walk((scripts / "app.js").resolve())
    walk((scripts / "tabs" / "score.js").resolve())
    wanted = {path.relative_to(FOLDER.resolve()).as_posix() for path in found} - {"js/app.js"}

    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'rel="modulepreload" href="page/([^"]+)"', index)) == wanted
