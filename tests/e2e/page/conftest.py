"""The node's page in a real browser, on a mesh of three processes: a hub, a painter with the bundled model, and Ada's node.

Ada asks and works herself, with the fake engine: its pictures take a known time. The painter's name is markup.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshgen.cli.local_mesh import LocalMesh, local_mesh, wait_for

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ALIAS = "<b id=owned>Pia</b>"
FAKE_S = 1.2
DESK, PHONE = (1440, 900), (390, 844)
SCENE = "a red circle above a blue square on a yellow background"
WAIT_MS = 30_000


def browser_tools() -> Any:
    """Playwright; a module whose tests need it is skipped where it is not installed."""
    tools = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    tools.expect.set_options(timeout=WAIT_MS)
    return tools


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with local_mesh(tmp_path_factory.mktemp("page"), "meshgen-page-v0") as mesh:
        hub = mesh.start("hub", "hub", "archivist")
        mesh.launch("painter", "worker", through=hub, node__alias=ALIAS, worker__device="cpu", worker__threads=1)
        mesh.launch("ada", "requester,worker", through=hub, worker__engine="fake", worker__fake_seconds=FAKE_S)
        mesh.await_ready(*mesh.nodes.values())
        ada = mesh.nodes["ada"].api
        wait_for(
            lambda: "meshgen-mini" in {model["name"] for model in ada.get("/v1/models")["mesh"]}, "Ada to know the painter", 60
        )
        yield mesh


@pytest.fixture(scope="package")
def chromium(mesh: LocalMesh) -> Iterator[Any]:
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with browser_tools().sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


class Visitor:
    """
    Somebody in front of Ada's page. What the page does wrong while nobody looks is kept in ``faults``.

    The browser writes each call that was refused into its console, sooner or later: a test that means one to be
    refused says beforehand, in ``refused``, what that line holds.
    """

    def __init__(self, mesh: LocalMesh, chromium: Any, size: tuple[int, int] = DESK) -> None:
        self.mesh = mesh
        self.api = mesh.nodes["ada"].api
        self.url = self.api.info.url
        self.faults: list[str] = []
        self.refused: str | None = None
        self.context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
        self.context.set_default_timeout(WAIT_MS)
        self.context.route(re.compile(f"^(?!{re.escape(self.url)}/|data:|blob:)"), self._foreign)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", self._hear)

    def _hear(self, line: Any) -> None:
        if line.type == "error" and not (self.refused and self.refused in line.text):
            self.faults.append(line.text)

    def _foreign(self, route: Any, request: Any) -> None:
        self.faults.append(f"it asked for {request.url}")
        route.abort()

    def come_in(self) -> Visitor:
        self.page.goto(f"{self.url}/#code={self.api.post('/v1/session/code')['code']}")
        self.page.wait_for_selector(".create-form")
        return self

    def go(self, section: str) -> None:
        self.page.goto(f"{self.url}/#/{section}")
        self.page.wait_for_selector(f".view-{section} h1")

    def ask(self, prompt: str, model: str = "fake", count: int = 1) -> Any:
        """Fill in the form and press the button. Returns the job's card."""
        page = self.page
        self.go("create")
        page.fill("[data-first]", prompt)
        page.click(".picked")
        page.click(f".pick:has-text('{model}')")
        while int(page.inner_text(".counter output")) != count:
            more = int(page.inner_text(".counter output")) < count
            page.click("[aria-label='More pictures']" if more else "[aria-label='Fewer pictures']")
        before = page.locator(".job").count()
        page.click("button.go")
        page.wait_for_function("number => document.querySelectorAll('.job').length > number", arg=before)
        return page.locator(".job").first

    def run(self, prompt: str, model: str = "fake", count: int = 1) -> Any:
        """The same, until all of it is there."""
        job = self.ask(prompt, model, count)
        job.locator(".tag", has_text="done").wait_for()
        browser_tools().expect(job.locator(".tile.there img")).to_have_count(count)
        return job

    def saved(self, button: Any) -> Path:
        """The file that pressing a button downloads."""
        with self.page.expect_download() as download:
            button.click()
        return Path(download.value.path())

    def leave(self) -> None:
        self.context.close()
        assert not self.faults, self.faults


@pytest.fixture
def ada(mesh: LocalMesh, chromium: Any) -> Iterator[Visitor]:
    visitor = Visitor(mesh, chromium)
    yield visitor.come_in()
    visitor.leave()


@pytest.fixture
def phone(mesh: LocalMesh, chromium: Any) -> Iterator[Visitor]:
    visitor = Visitor(mesh, chromium, PHONE)
    yield visitor.come_in()
    visitor.leave()
