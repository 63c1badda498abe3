"""axe, a checker of accessibility, finds nothing serious in any section, in light and dark. It is fetched once, if npm can."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.e2e.page.conftest import SCENE, Visitor, browser_tools

AXE = "axe-core@4.10.3"
SECTIONS = ("create", "gallery", "storyboard", "mesh", "worker", "credit")
SETTLED = (
    "Promise.allSettled(document.getAnimations().filter((one) => one.transitionProperty).map((one) => one.finished))"
    ".then(() => 0)"
)
RUN = "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"
FETCH_S = 60

browser_tools()


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir("axe"))
    script = folder / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm") or pytest.skip("there is no npm to fetch axe with")
        try:
            packed = subprocess.run([npm, "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"axe can't be fetched: {type(error).__name__}")
        with tarfile.open(folder / packed.stdout.split()[-1]) as package:
            member = package.extractfile("package/axe.min.js")
            assert member is not None
            script.write_bytes(member.read())
    return script.read_text("utf-8")


def serious(visitor: Visitor, axe: str) -> list[str]:
    visitor.page.evaluate(SETTLED)  # colours that change are of neither kind
    visitor.page.evaluate(axe)
    found = visitor.page.evaluate(RUN)
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")]


def test_every_section(ada: Visitor, axe: str) -> None:
    ada.run(SCENE)
    for section in SECTIONS:
        ada.go(section)
        ada.page.wait_for_load_state("networkidle")
        for colours in ("light", "dark"):
            ada.page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            assert not serious(ada, axe), (section, colours)


def test_windows(ada: Visitor, axe: str) -> None:
    page = ada.page
    page.click(".picked")
    assert not serious(ada, axe), "the list of models"
    page.keyboard.press("Escape")
    ada.run(SCENE).locator(".tile-open").click()
    page.locator(".viewer").wait_for()
    assert not serious(ada, axe), "a picture"
    page.get_by_role("button", name="Start from it").click()
    page.get_by_role("button", name="Paint a mask").click()
    page.locator(".painter canvas").wait_for()
    assert not serious(ada, axe), "the mask painter"
