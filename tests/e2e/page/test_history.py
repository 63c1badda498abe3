"""Gallery and storyboard: what was made is there after a reload, and leaves as files."""

from __future__ import annotations

from typing import Any

from PIL import Image

from meshgen.cli.local_mesh import LocalMesh
from meshgen.pictures import text_of
from tests.e2e.page.conftest import SCENE, Visitor, browser_tools

expect = browser_tools().expect


def test_the_gallery_after_a_reload(ada: Visitor) -> None:
    page = ada.page
    ada.run("a lighthouse at dusk", count=2)
    ada.run(SCENE, "meshgen-mini")
    page.reload()
    ada.go("gallery")
    pictures = page.locator(".wall img[src^='blob:']")
    expect(pictures).to_have_count(3)
    page.get_by_label("Search the gallery").fill("dusk LIGHTHOUSE")
    expect(page.locator(".wall li")).to_have_count(2)
    page.locator(".wall-open").first.click()
    viewer = page.locator(".viewer")
    expect(viewer.locator(".viewer-prompt")).to_have_text("a lighthouse at dusk")
    seed = viewer.locator("dt:text-is('Seed') + dd").inner_text()
    page.keyboard.press("ArrowRight")
    expect(viewer.locator("dt:text-is('Seed') + dd")).not_to_have_text(seed)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")
    expect(page.locator("[data-first]")).to_have_value("a lighthouse at dusk")
    page.locator("summary", has_text="Quality").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value(seed)


def test_a_link_comes_in_at_once(mesh: LocalMesh, chromium: Any) -> None:
    visitor = Visitor(mesh, chromium)
    loaded: list[str] = []
    visitor.page.on("request", lambda request: loaded.append(request.url) if request.resource_type == "document" else None)
    visitor.come_in()
    visitor.run("a lighthouse at dusk")
    visitor.leave()
    assert len(loaded) == 1, "what was typed while the page loads again is lost"


def test_a_picture_leaves_with_or_without_its_prompt(ada: Visitor) -> None:
    page = ada.page
    ada.run(SCENE, "meshgen-mini").locator(".tile-open").click()
    viewer = page.locator(".viewer")
    with_words = ada.saved(viewer.get_by_role("button", name="Download")).read_bytes()
    without = ada.saved(viewer.get_by_role("button", name="Without the prompt")).read_bytes()
    assert SCENE in str(text_of(with_words)) and not text_of(without)
    page.keyboard.press("Delete")
    expect(viewer).to_have_count(0)
    ada.go("gallery")
    expect(page.locator(".view-gallery")).to_contain_text("No pictures yet")
    page.locator(".toast button").click()
    expect(page.locator(".wall li")).to_have_count(1)


def test_the_history_is_there_without_the_node(ada: Visitor) -> None:
    page = ada.page
    ada.run("a lighthouse at dusk")
    page.evaluate("navigator.serviceWorker.ready")
    ada.refused = "ERR_INTERNET_DISCONNECTED"
    ada.context.set_offline(True)
    page.reload()
    expect(page.locator("#offline")).to_contain_text("The node does not answer")
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".wall img[src^='blob:']")).to_have_count(1)


def test_variations_and_comparing(ada: Visitor) -> None:
    page = ada.page
    ada.run("a tree", count=2).locator(".tile-open").first.click()
    page.locator(".viewer").wait_for()
    page.keyboard.press("c")
    page.locator(".strip button").first.click()
    page.get_by_label("How much of the first picture is seen").fill("20")
    page.keyboard.press("Escape")
    expect(page.locator(".comparing")).to_have_count(0)
    page.keyboard.press("v")
    expect(page.locator(".job").first.locator(".tile")).to_have_count(4)
    page.get_by_role("button", name="Cancel").click()


def test_six_panels_make_a_page(ada: Visitor) -> None:
    page = ada.page
    ada.go("storyboard")
    page.get_by_label("Title").fill("Six shapes")
    page.get_by_label("Style of all panels").fill("on a black background")
    page.click(".picked")
    page.click(".pick:has-text('meshgen-mini')")
    for number, shape in enumerate(("red circle", "blue square", "green star", "white circle", "red star", "blue circle"), 1):
        page.get_by_label(f"Panel {number}: what is seen").fill(f"a {shape}")
        page.get_by_label(f"Panel {number}: caption").fill(f"Here is a {shape}.")
    page.get_by_role("button", name="Draw 6 panels").click()
    expect(page.locator(".frame > .tile-open img[src^='blob:']")).to_have_count(6)
    page.locator(".frame").first.hover()
    page.get_by_role("button", name="Draw panel 1 again").click()
    expect(page.locator(".paper .live:visible")).to_have_count(1)
    expect(page.locator(".paper .live:visible")).to_have_count(0)
    page.reload()
    expect(page.locator(".frame > .tile-open img[src^='blob:']")).to_have_count(6)
    expect(page.locator(".paper-caption").last).to_have_text("Here is a blue circle.")
    pdf = ada.saved(page.get_by_role("button", name="PDF")).read_bytes()
    assert pdf.startswith(b"%PDF-1.4") and pdf.rstrip().endswith(b"%%EOF") and pdf.count(b"/DCTDecode") == 1
    with Image.open(ada.saved(page.get_by_role("button", name="PNG"))) as sheet:
        assert sheet.width >= 1600 and sheet.height > sheet.width
    ada.go("gallery")
    expect(page.locator(".wall li")).to_have_count(7)
