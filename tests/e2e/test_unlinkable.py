"""What a person's two nodes have in common in others' eyes: what their settings say, and the machine's device; nothing else.

And who can read a job: the worker that was chosen, and neither the one that lost the bid nor the hub that both sit at.
"""

from __future__ import annotations

import getpass
import os
import platform
import socket
import uuid
from collections import defaultdict
from dataclasses import asdict
from typing import Any

import pytest
import trio
import trio.testing

import meshgen.net.libp2p.host
from meshgen.identity import Identity
from meshgen.net.libp2p import open_libp2p
from meshgen.net.memory import Event
from meshgen.net.port import PeerId
from meshgen.peers.directory import table_rules
from meshgen.protocols.codec import Malformed
from meshgen.protocols.envelope import unsign
from meshgen.protocols.job import PROTOCOL as JOB_PROTOCOL
from meshgen.protocols.offer import Award
from meshgen.protocols.sealing import unseal
from meshgen.settings import Settings
from tests.peers.virtual import identity, now_ms, pictures_of, virtual_mesh

NEEDLES = {"host": "walrus-laptop", "user": "violetta", "home": "/home/violetta", "node": 0xDEC0DE5EED42}
ALIKE = {"net", "agent", "roles", "alias", "expires_ms"} | {"policies", "price_permille", "slots", "queued", "models", "adapters"}
"""What two adverts of one person may have in common: the mesh, the version, what the settings say, what is served..."""
DEVICE = {"device_kind", "device_name", "vram_total_mib", "vram_free_mib", "max_pixels", "max_steps", "max_count"}
"""...and the machine that it is served with."""
OWN = {"seq", "addresses", "head_seq", "head_id"}


@pytest.fixture
def telling_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever looks for the machine's or its owner's name finds a word that can be looked for."""
    uname = os.uname_result((os.uname().sysname, NEEDLES["host"], *os.uname()[2:]))
    monkeypatch.setattr(socket, "gethostname", lambda: NEEDLES["host"])
    monkeypatch.setattr(socket, "getfqdn", lambda *_: NEEDLES["host"])
    monkeypatch.setattr(platform, "node", lambda: NEEDLES["host"])
    monkeypatch.setattr(os, "uname", lambda: uname)
    monkeypatch.setattr(getpass, "getuser", lambda: NEEDLES["user"])
    monkeypatch.setattr(uuid, "getnode", lambda: NEEDLES["node"])
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, str(NEEDLES["user"]))
    monkeypatch.setenv("HOME", str(NEEDLES["home"]))


def told(data: bytes) -> list[str]:
    node = NEEDLES["node"]
    assert isinstance(node, int)
    writings = {name: [str(value).encode()] for name, value in NEEDLES.items()}
    writings["node"] = [
        node.to_bytes(6),
        node.to_bytes(6).hex().encode(),
        b":".join(f"{byte:02x}".encode() for byte in node.to_bytes(6)),
    ]
    return [name for name, forms in writings.items() if any(form in data for form in forms)]


async def test_nothing_that_a_node_says_names_its_machine(telling_machine: None, autojump_clock: trio.testing.MockClock) -> None:
    """Gossip, table, every message between two peers, log: of a whole mesh in memory."""
    said: dict[str, bytes] = defaultdict(bytes)

    def listen(event: Event) -> None:
        said[event.kind] += event.name.encode() + event.data

    async with virtual_mesh() as mesh:
        mesh.net.trace = listen
        await mesh.add("hub", "hub archivist")
        await mesh.worker("w1", node__alias="")
        asker = await mesh.requester(node__alias="")
        assert (await pictures_of(asker)).state == "done"
        await trio.sleep(120)
        for node in mesh.nodes.values():
            for author, head in node.ledger.heads():
                said["log"] += b"".join(node.ledger.entries(author, 1, head.seq))
    assert {"gossip", "message", "value", "log"} <= said.keys()
    assert {kind: found for kind, data in said.items() if (found := told(data))} == {}
    assert told(f"by {NEEDLES['user']}".encode()) == ["user"], "the needle can be found"


async def test_adverts_of_one_persons_nodes_share_what_the_settings_say(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        one, two = [await mesh.worker(name, node__alias="") for name in ("study", "attic")]
        adverts = [asdict(node.directory.own.message) for node in (one, two) if node.directory.own]
    first, second = adverts
    assert set(first) == ALIKE | DEVICE | OWN, "a new field: may it link a person's nodes?"
    assert {name for name in OWN if first[name] == second[name] and first[name]} <= {"seq", "head_seq"}
    assert not set(map(str, first["addresses"])) & set(map(str, second["addresses"]))


async def test_on_the_wire_each_start_has_keys_of_its_own_and_no_names(
    telling_machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes of one machine and one of them again, as a third peer meets them: Noise's static keys, and what identify says."""
    made: list[bytes] = []
    real = meshgen.net.libp2p.host.x25519_key_pair

    def noted() -> Any:
        pair = real()
        made.append(pair.public_key.to_bytes())
        return pair

    monkeypatch.setattr(meshgen.net.libp2p.host, "x25519_key_pair", noted)
    one, two, stranger = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
    seen: list[str] = []
    for who in (one, two, one):
        async with (
            open_libp2p(who, ["/ip4/127.0.0.1/tcp/0"], table=table_rules(now_ms)) as net,
            open_libp2p(stranger, ["/ip4/127.0.0.1/tcp/0"], table=table_rules(now_ms)) as other,
        ):
            await other.connect(net.addresses()[0])
            seen += [repr(link) for link in other.links()] + net.addresses() + await _identified(other, net.peer_id)
    assert len(made) == len(set(made)) == 6, "a key for each start, so that it links no two"
    assert told(" ".join(seen).encode()) == []


async def _identified(net: Any, peer: PeerId) -> list[str]:
    """All that the peer store has learned of a peer by identify."""
    from libp2p.peer.id import ID

    store, found = net._host.get_peerstore(), ID.from_base58(peer)
    with trio.move_on_after(5):
        while not store.get_protocols(found):  # noqa: ASYNC110 - identify runs beside
            await trio.sleep(0.05)
    data = store.peer_data_map[found]
    return [repr(data.metadata), repr(data.get_protocols()), repr(data.get_addrs())]


def test_nobody_outside_reaches_the_api_unless_the_owner_says_so() -> None:
    api = Settings().api
    assert (api.host, api.anonymous) == ("127.0.0.1", False)


# -- who can read a job


async def test_only_the_chosen_worker_gets_the_job_and_only_it_can_open_it(autojump_clock: trio.testing.MockClock) -> None:
    awards: list[bytes] = []

    def listen(event: Event) -> None:
        if event.kind == "message" and event.name == JOB_PROTOCOL and event.peer == identity("asker").peer_id:
            awards.append(event.data)

    async with virtual_mesh() as mesh:
        hub = await mesh.add("hub", "hub archivist")
        cheap, dear = (
            await mesh.worker("cheap", worker__price_permille=500),
            await mesh.worker("dear", worker__price_permille=2000),
        )
        asker = await mesh.requester("asker")
        mesh.net.trace = listen
        job = await pictures_of(asker)
        assert {part.worker for part in job.parts} == {cheap.peer_id}
        assert cheap.worker and dear.worker
        assert (dear.worker.tally.bids, dear.worker.tally.jobs) == (1, 0), "it bid, and lost"
        (award,) = [unsign(wire, Award).message for wire in awards if _is_award(wire)]
        ids = award.offer_id, award.bid_id
        assert unseal(award.sealed, cheap.worker.bidder.seal_key, *ids).prompt == "a prompt"  # type: ignore[union-attr]
        with pytest.raises(Malformed):
            unseal(award.sealed, dear.worker.bidder.seal_key, *ids)
        assert hub.worker is None


def _is_award(wire: bytes) -> bool:
    try:
        return bool(unsign(wire, Award))
    except Malformed:
        return False
