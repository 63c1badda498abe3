"""What a node says of itself when it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen import node
from meshgen.ledger.errors import Unusable
from meshgen.node import NodeError, _tell_doors, run_node
from meshgen.settings import load_settings

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


def test_what_several_tasks_fail_for_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ExceptionGroup("", [Unusable("the disk is full"), ExceptionGroup("", [Unusable("the disk is full")])])

    monkeypatch.setattr(node, "_run", fail)
    with pytest.raises(NodeError) as caught:
        run_node(load_settings(), tmp_path)
    assert str(caught.value) == "the disk is full"
