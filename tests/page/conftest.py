"""The page in a real browser, before real servers: Chromium, driven by Playwright.

Every test here is marked `page`: `make test-page` runs them. A test that asks for `page` also asserts that nothing went
wrong beside what it looks at: no error or warning in the console, no violation of the content policy, no dialog, and no
request to another machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.e2e.serving import Served, serving
from tests.page.driving import Console
from tests.page.servers import build_index, key_options

OpenPage = Callable[..., Page]
StartServer = Callable[..., Served]

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
WIDE, NARROW = (1280, 900), (360, 740)
_HERE = Path(__file__).parent
_TIMEOUT_S = 300


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and keep it on one worker, which then starts each server once."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("page")
            item.add_marker(pytest.mark.xdist_group("page"))
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of a few documents."""
    return build_index(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="session")
def server(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The bundled models, an index, and everyone may load and unload; shared, so a test leaves it as it was."""
    models = ("--model", "ms-marco-minilm-l12", "--model", "sts-minilm", "--model-control", "*")
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with serving(*models, "--index", str(index), log=log) as served:
        yield served
        assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model without weights, which scores the share of common words, at once; shared."""
    log = tmp_path_factory.mktemp("fake") / "log.txt"
    with serving("--backend", "fake", log=log) as served:
        yield served


@pytest.fixture(scope="session")
def keys_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks for a key, `OPERATOR_KEY` or `READER_KEY`; without weights; shared."""
    options, env = key_options()
    log = tmp_path_factory.mktemp("keys") / "log.txt"
    with serving("--backend", "fake", *options, log=log, env=env) as served:
        yield served


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start a server of one's own, without weights, which the test may unload and end; takes further options."""
    with ExitStack() as stack:

        def start(*options: str) -> Served:
            log = tmp_path / "server.txt"
            return stack.enter_context(serving("--backend", "fake", *options, log=log))

        yield start


# Of a module, because the driver's event loop runs in the test's thread as long as it lives, and tests of
# other modules start loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which can reach no other machine."""
    if CHROMIUM is None:
        pytest.fail(
            "there is no chromium; install it (apt-get install chromium) or name it in CHROMIUM"
        )
    closed = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", closed]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def console() -> Iterator[Console]:
    """What the test's pages complain of; `allow` what the test provokes."""
    collected = Console()
    yield collected
    assert collected.complaints() == []
    assert collected.outside() == []


@pytest.fixture
def open_page(browser: Browser, console: Console) -> Iterator[OpenPage]:
    """Open an empty page in a context of its own; `open_tab` or `page.goto("./")` then loads it."""
    with ExitStack() as stack:

        def make(served: Served, *, size: tuple[int, int] = WIDE, theme: str = "light") -> Page:
            context = browser.new_context(
                base_url=f"{served.base}/",
                viewport={"width": size[0], "height": size[1]},
                color_scheme=theme,  # type: ignore[arg-type]
                reduced_motion="reduce",
                locale="en-GB",
                timezone_id="UTC",
            )
            context.set_default_timeout(60_000)
            stack.callback(context.close)
            context.on("page", console.watch)
            return context.new_page()

        yield make


@pytest.fixture
def page(open_page: OpenPage, server: Served) -> Page:
    """A light, wide page of the real server."""
    return open_page(server)


@pytest.fixture
def narrow_page(open_page: OpenPage, server: Served) -> Page:
    """The page on a telephone."""
    return open_page(server, size=NARROW)


@pytest.fixture
def dark_page(open_page: OpenPage, server: Served) -> Page:
    """The page where the system is dark."""
    return open_page(server, theme="dark")
