"""Mesh, Worker and Credit say what the node says; what others wrote is text; nothing is fetched from elsewhere."""

from __future__ import annotations

from tests.e2e.page.conftest import ALIAS, SCENE, Visitor, browser_tools

expect = browser_tools().expect
SECTIONS = ("create", "gallery", "storyboard", "mesh", "worker", "credit")
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def test_the_worker_is_paused_and_resumed(ada: Visitor) -> None:
    page = ada.page
    ada.go("worker")
    page.get_by_role("button", name="Pause …").click()
    page.get_by_label("A word to others").fill("<i>rendering</i>")
    page.locator("dialog .choice", has_text="1 hour").click()
    page.locator("dialog").get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".hero")).to_contain_text("<i>rendering</i>")
    assert ada.api.get("/v1/worker")["paused"]["message"] == "<i>rendering</i>"
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".hero")).to_contain_text("Ready for others")
    assert ada.api.get("/v1/worker")["takes_work"]


def test_a_setting_is_changed_in_the_file(ada: Visitor) -> None:
    ada.go("worker")
    row = ada.page.locator(".setting", has_text="worker.max_steps")
    row.locator("input").fill("77")
    row.locator("input").blur()
    expect(row).to_contain_text("in force now")
    file = ada.mesh.nodes["ada"].home / "config.yaml"
    assert "max_steps: 77" in file.read_text()
    expect(ada.page.locator(".card", has_text="at most 77").first).to_be_visible()
    ada.refused = "status of 422"
    row.locator("input").fill("0")
    row.locator("input").blur()
    expect(row.locator(".error")).to_contain_text("max_steps")


def test_a_picture_and_a_balance_open_down_to_the_receipt(ada: Visitor) -> None:
    page = ada.page
    ada.run(SCENE, "meshgen-mini").locator(".tile-open").click()
    page.locator(".viewer a[href*=receipt]").click()
    expect(page.locator("[aria-label=Receipt] h3")).to_contain_text("receipt")
    ada.go("credit")
    page.locator("[data-part=spent]").click()
    page.locator("[aria-label=Deals] summary").first.click()
    expect(page.locator("[aria-label=Deals] .entry h3", has_text="receipt")).to_have_count(1)
    deal = ada.api.get("/v1/credit/deals?open=spent")["items"][0]
    for entry in deal["entries"]:
        expect(page.locator("[aria-label=Deals] .entry dd", has_text=entry).first).to_be_visible()
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator(".hero")).to_contain_text("All is well")


def test_who_is_there(ada: Visitor) -> None:
    ada.go("mesh")
    expect(ada.page.locator(".peer h3", has_text=ALIAS)).to_have_count(1)
    expect(ada.page.locator(".map svg")).to_have_attribute("aria-label", "This node is linked to 2 peers; it knows of 0 more.")
    expect(ada.page.locator(".demand")).to_contain_text("meshgen-mini")


def test_what_others_wrote_is_text(ada: Visitor) -> None:
    page = ada.page
    ada.run(MARKUP)
    page.locator(".tile-open").first.click()
    expect(page.locator(".viewer-prompt")).to_have_text(MARKUP)
    page.keyboard.press("Escape")
    for section in SECTIONS:
        ada.go(section)
        page.wait_for_timeout(200)
        assert page.locator("#owned, img[src=x], main script").count() == 0, section
        assert "owned" not in page.title()


def test_a_phone_is_wide_enough(phone: Visitor) -> None:
    for section in SECTIONS:
        phone.go(section)
        phone.page.wait_for_load_state("networkidle")
        over = phone.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{section} is {over} pixels too wide"


def test_keys(ada: Visitor) -> None:
    page = ada.page
    page.locator("h1").first.evaluate("element => element.focus()")
    page.keyboard.press("2")
    expect(page.locator(".view-gallery h1")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.locator(".create-form").wait_for()
    page.keyboard.press("/")
    expect(page.locator("[data-first]")).to_be_focused()


def test_nobody_comes_in_without_a_key(ada: Visitor) -> None:
    page = ada.page
    ada.refused = "status of 401"
    ada.context.clear_cookies()
    page.reload()
    page.get_by_label("Key").fill("not the key")
    page.get_by_role("button", name="Come in").click()
    expect(page.locator(".signin .error")).to_have_text("That is not this node's key.")
    page.get_by_label("Key").fill((ada.mesh.nodes["ada"].home / "api.key").read_text().strip())
    page.get_by_role("button", name="Come in").click()
    page.locator(".create-form").wait_for()
