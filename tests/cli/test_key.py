"""`meshgen key`: the owner's, and those for others; `meshgen page`."""

from __future__ import annotations

import json
import stat
import webbrowser
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from meshgen.home import KEY_FILE, SHARED_KEYS_FILE
from tests.cli.conftest import Running

Cli = Callable[..., Result]


def test_the_own_key_needs_a_home_and_no_node(meshgen: Cli, home: Path) -> None:
    assert "meshgen init" in meshgen("key", code=4).stderr
    meshgen("init", "--profile", "laptop")
    key = meshgen("key").stdout.strip()
    assert len(key) == 22 and json.loads(meshgen("key", "--json").stdout) == {"key": key}
    assert stat.S_IMODE((home / KEY_FILE).stat().st_mode) == 0o600
    (home / KEY_FILE).write_text("too short")
    assert "remove it" in meshgen("key", code=4).stderr
    assert "too short" not in meshgen("key", code=4).output


def test_keys_for_others(meshgen: Cli, running: Running) -> None:
    assert "no key is shared" in meshgen("key", "ls").output
    key = meshgen("key", "new", "Aunt May", "--kudos", "200", "--for", "30d", "--pixels", "262144").stdout.strip()
    other = json.loads(meshgen("key", "new", "class", "--kudos", "-1", "--steps", "30", "--tokens", "80", "--json").stdout)
    assert (other["kudos"], other["expires_ms"], other["max_image_steps"], other["max_text_tokens"]) == (-1, -1, 30, 80)
    text = meshgen("key", "ls").output
    assert key in text and "Aunt May" in text and "no limit" in text
    assert stat.S_IMODE((running.home / SHARED_KEYS_FILE).stat().st_mode) == 0o600
    meshgen("key", "rm", key)
    assert "there is no key" in meshgen("key", "rm", key, code=1).stderr
    assert "there is no key" in meshgen("key", "rm", "a b/c", code=1).stderr
    assert [row["name"] for row in json.loads(meshgen("key", "ls", "--json").stdout)["keys"]] == ["class"]


@pytest.mark.parametrize(
    "words", [("new",), ("new", "x", "--kudos", "-2"), ("new", "x", "--for", "12h"), ("new", "x", "--for", "soon"), ("rm",)]
)
def test_wrong_usage(meshgen: Cli, running: Running, words: tuple[str, ...]) -> None:
    meshgen("key", *words, code=2)
    assert not (running.home / SHARED_KEYS_FILE).exists()


def test_a_name_that_is_empty_is_told(meshgen: Cli, running: Running) -> None:
    assert "name" in meshgen("key", "new", "", code=1).stderr


def test_without_a_node(meshgen: Cli) -> None:
    for words in (("key", "ls"), ("key", "new", "x"), ("key", "rm", "x"), ("page",)):
        meshgen(*words, code=3)


def test_the_page_opens_signed_in_once(meshgen: Cli, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert "is open" in meshgen("page").output
    url, _, code = opened[0].partition("/#code=")
    assert [httpx.post(f"{url}/session", json={"code": code}).status_code for _ in range(2)] == [204, 401]
    found = json.loads(meshgen("page", "--no-browser", "--json").stdout)
    assert len(opened) == 1 and found["opened"] is False and "#code=" in found["url"]
    assert "#code=" in meshgen("page", "--no-browser").output
