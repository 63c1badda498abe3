"""The log says when others begin to get in, and when they don't any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshgen.net.port import Net, PeerId, Reach, Unreachable, about
from meshgen.peers.reaching import ReachLog, is_alone

BOB, ANN = PeerId("12D3KooWbob"), PeerId("12D3KooWann")


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([Reach(), Reach("public"), Reach("public", (BOB,))], ["others reach this node directly"]),
        ([Reach("private"), Reach("private")], ["behind a router or firewall"]),
        ([Reach("private", (BOB,)), Reach("private", (ANN, BOB))], [f"through the relay {BOB}"]),
        ([Reach("unknown", (BOB,)), Reach("public")], [f"through the relay {BOB}", "directly"]),
        ([Reach("private", (BOB,)), Reach("private"), Reach("private", (ANN,))], [BOB, "no relay lets others", ANN]),
        ([Reach("unknown", (BOB,)), Reach(), Reach("unknown", (ANN,))], [BOB, "no relay lets others", ANN]),
    ],
)
def test_a_line_a_change_of_the_way(seen: list[Reach], said: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    now: Any = SimpleNamespace(reach=lambda: reach)
    told = ReachLog(cast(Net, now))
    for reach in seen:  # noqa: B007 - what the net says next
        told.look()
    assert len(caplog.messages) == len(said)
    assert all(words in line for words, line in zip(said, caplog.messages, strict=True))


@pytest.mark.parametrize(
    "error", [Unreachable(f"{BOB} can't be dialled: x"), Unreachable("the stream is broken"), TimeoutError()]
)
def test_a_peer_is_named_once(error: Exception) -> None:
    assert about(BOB, error).count(BOB) == 1 and len(about(BOB, error)) > len(BOB) + 5


def test_who_listens_for_its_own_machine_alone() -> None:
    assert is_alone(["/ip4/127.0.0.1/tcp/1/p2p/x", "/ip6/::1/tcp/1"]) and is_alone(["/dns/localhost/tcp/1"])
    assert not is_alone([]) and not is_alone(["/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.7/tcp/1"])
