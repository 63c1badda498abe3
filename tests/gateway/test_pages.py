"""The page's files as they are served, and that none of them reaches for anything elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from meshgen.gateway import pages

FOLDER = Path(pages.__file__).parent / pages.FOLDER
WORDS = {
    path: path.read_text("utf-8") for path in sorted(FOLDER.rglob("*")) if path.suffix in (".html", ".css", ".js", ".webmanifest")
}
APP = FastAPI()
APP.include_router(pages.page_routes())
CLIENT = TestClient(APP)


@pytest.mark.parametrize(
    ("path", "media"), [("/", "text/html"), ("/sw.js", "text/javascript"), ("/page/icons/icon-192.png", "image/png")]
)
def test_a_file(path: str, media: str) -> None:
    answer = CLIENT.get(path)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(media)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-cache"


def test_what_a_browser_has_is_not_sent_again() -> None:
    tag = CLIENT.get("/").headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        again = CLIENT.get("/", headers={"if-none-match": known})
        assert again.status_code == 304 and not again.content and again.headers["etag"] == tag
    assert CLIENT.get("/", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/js", "/page/../pages.py", "/page/%2e%2e/pages.py", "/page/js/..%2f..%2fpages.py", "/page//etc/passwd"],
)
def test_nothing_else(path: str) -> None:
    assert CLIENT.get(path).status_code == 404


def test_every_file_has_a_path() -> None:
    assert set(CLIENT.get(pages.LIST).json()) == pages.page_paths() - {pages.LIST}
    assert len(pages.page_paths()) - 1 == sum(path.is_file() for path in FOLDER.rglob("*"))


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    addresses = set(re.findall(r"""(?:https?:)?//[\w.-]+\.\w+""", WORDS[path]))
    assert addresses <= {"http://www.w3.org"}, "SVG's namespace alone"


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.name)
def test_what_a_file_names_is_there(path: Path) -> None:
    named = re.findall(r"""(?:from|import\()\s*"\./([\w-]+\.js)\"""", WORDS[path])
    assert all((path.parent / name).is_file() for name in named)
    assert set(re.findall(r"""(?:href|src)=?:? ?"(/page/[^"]+)\"""", WORDS[path])) <= pages.page_paths()


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.name)
def test_no_markup_is_made_of_text(path: Path) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", WORDS[path])


def test_the_policy_is_kept() -> None:
    index = WORDS[FOLDER / "index.html"]
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", index)
