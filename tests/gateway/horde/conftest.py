"""A fake node behind the whole gateway, without a socket, and its owner's key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio

from meshgen.gateway.app import make_app
from meshgen.home import KEY_FILE
from tests.gateway.fake_node import FakeNode

TOKEN = "a-token"
KEY = "an-owners-own-key-22"
OWN = {"apikey": KEY}
BASE = "http://127.0.0.1:4712"


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / KEY_FILE).write_text(KEY)
    return tmp_path


@pytest.fixture
async def api(node: FakeNode, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Shows no key by itself."""
    async with trio.open_nursery() as background:
        app = make_app(node, TOKEN, home=home, background=background)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
            yield client
        background.cancel_scope.cancel()
