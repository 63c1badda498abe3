"""What a node says of itself when it starts."""

from __future__ import annotations

import pytest

from meshgen.node import _tell_doors

HERE, NEAR = "/ip4/127.0.0.1/tcp/4711/p2p/12D3KooWx", "/ip4/192.0.2.7/tcp/4711/p2p/12D3KooWx"


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        ([HERE, NEAR, "/ip6/::1/tcp/4711/p2p/12D3KooWx"], [f"others can join through {NEAR}"]),
        ([HERE], [f"nobody elsewhere can dial this node (mesh.listen names no other address, or there is no network): {HERE}"]),
        ([], []),
    ],
)
def test_who_can_join_where(addresses: list[str], said: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    _tell_doors(addresses)
    assert caplog.messages == said
