"""By what names the command line finds a peer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault
from meshgen.cli.whom import People
from meshgen.identity import Identity

OWN, BOB, NAMELESS = (Identity.from_seed(bytes([seed]) * 32).peer_id for seed in (1, 2, 3))


class Known:
    """The running node, as far as it is asked."""

    def get(self, path: str) -> dict[str, Any]:
        rows = [{"peer_id": BOB, "alias": "bob"}, {"peer_id": NAMELESS, "alias": ""}]
        said: dict[str, dict[str, Any]] = {"/v1/status": {"peer_id": OWN}, "/v1/peers": {"peers": rows}}
        return said[path]


@pytest.mark.parametrize(
    ("called", "meant"),
    [
        ("", ""),
        (BOB, BOB),
        ("bob", BOB),
        (f"bob#{BOB[-6:]}", BOB),
        (f"peer#{NAMELESS[-6:]}", NAMELESS),
        (f"..{NAMELESS[-6:]}", NAMELESS),
    ],
)
def test_as_a_peer_is_shown_it_is_found(called: str, meant: str) -> None:
    assert People(cast("Api", Known())).find(called) == meant


@pytest.mark.parametrize("called", ["alice", f"alice#{BOB[-6:]}", f"peer#{BOB[-6:]}", "peer#", "peer"])
def test_nobody_is_called_so(called: str) -> None:
    with pytest.raises(Fault, match="no peer known here has that alias"):
        People(cast("Api", Known())).find(called)
