"""Create: previews, cancelling, masks, and a form that a reload does not empty."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e.page.conftest import SCENE, Visitor, browser_tools

expect = browser_tools().expect


def test_pictures_are_seen_while_they_are_drawn(ada: Visitor) -> None:
    job = ada.ask("a quiet harbour", count=2)
    job.locator("img[src^='data:image/jpeg']").first.wait_for()
    assert job.locator("progress").count() == 2
    expect(job.locator(".tile.there img")).to_have_count(2)
    expect(job.locator(".tag")).to_have_text("done")


def test_what_it_costs_is_said_before(ada: Visitor) -> None:
    page = ada.page
    page.click(".picked")
    page.click(".pick:has-text('meshgen-mini')")
    expect(page.locator(".price")).to_contain_text("about")
    expect(page.locator(".price")).to_contain_text("1 worker can")


def test_a_job_and_all_jobs_are_cancelled(ada: Visitor) -> None:
    first = ada.ask("one of many", count=8)
    first.get_by_role("button", name="Cancel").click()
    expect(first.locator(".tag")).to_have_text("cancelled")
    ada.ask("another", count=8)
    ada.ask("and another", count=8)
    ada.page.get_by_role("button", name="Cancel all").click()
    expect(ada.page.locator(".job .tag", has_text="cancelled")).to_have_count(3)


def test_what_is_wrong_is_said_where_it_is(ada: Visitor) -> None:
    ada.page.click("button.go")
    expect(ada.page.locator("[data-fault=prompt]")).to_have_text("Say what should be seen.")
    expect(ada.page.locator("[data-first]")).to_be_focused()
    ada.page.fill("[data-first]", "x")
    ada.page.locator("summary", has_text="Quality").click()
    ada.page.route(
        "**/v1/jobs",
        lambda route: route.fulfill(status=422, json={"error": {"code": "invalid", "message": "too few", "field": "steps"}}),
    )
    ada.refused = "status of 422"
    ada.page.click("button.go")
    expect(ada.page.locator("[data-fault=steps]")).to_have_text("too few")


def test_a_mask_is_painted_and_painted_anew(ada: Visitor) -> None:
    page = ada.page
    ada.run(SCENE, "meshgen-mini").locator(".tile-open").click()
    page.get_by_role("button", name="Start from it").click()
    page.fill("[data-first]", SCENE.replace("red", "green"))
    page.get_by_role("button", name="Paint a mask").click()
    canvas = page.locator(".painter canvas")
    box = canvas.bounding_box()
    page.get_by_label("Width of the brush").fill("16")
    for share in (0.1, 0.25, 0.4):
        stroke(page, box, share)
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Redo").click()
    assert page.get_by_role("button", name="Redo").is_disabled()
    page.get_by_role("button", name="Use this mask").click()
    expect(page.locator(".source")).to_contain_text("masked")
    with page.expect_request(lambda request: request.method == "POST" and "dry_run" not in (request.post_data or "")) as asked:
        page.click("button.go")
    body = json.loads(asked.value.post_data)
    mask = pixels(body["mask"])
    assert mask.shape == pixels(body["source"]).shape == (64, 64, 3)
    assert mask[8:24, 20:44].min() == 255 and mask[40:].max() == 0, "the upper part is white, the lower black"
    job = page.locator(".job").first
    expect(job.locator(".tile.there img")).to_have_count(1)


def stroke(page: Any, box: dict[str, float], share: float) -> None:
    y = box["y"] + share * box["height"]
    page.mouse.move(box["x"] + 0.05 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.95 * box["width"], y, steps=5)
    page.mouse.up()


def pixels(encoded: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(BytesIO(base64.b64decode(encoded))).convert("RGB"))


def test_the_form_survives_a_reload(ada: Visitor) -> None:
    page = ada.page
    page.fill("[data-first]", "a form that stays")
    page.get_by_role("button", name="16:9").click()
    page.locator("summary", has_text="Quality").click()
    page.get_by_role("button", name="Draw a seed and lock it").click()
    seed = page.get_by_label("Seed", exact=True).input_value()
    page.reload()
    expect(page.locator("[data-first]")).to_have_value("a form that stays")
    expect(page.get_by_label("Seed", exact=True)).to_have_value(seed)
    expect(page.get_by_role("button", name="16:9")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("name", ["not-a-picture.png"])
def test_a_file_that_is_no_picture(ada: Visitor, name: str) -> None:
    ada.page.set_input_files("input[type=file]", {"name": name, "mimeType": "image/png", "buffer": b"no picture"})
    expect(ada.page.locator(".toast")).to_contain_text("no picture that this browser can read")
