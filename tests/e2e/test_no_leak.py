"""The prompt is the requester's and the chosen worker's: nobody else hears it, and nobody writes it down."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from meshgen.identity import Identity
from meshgen.ledger.store import open_read_only
from meshgen.net.libp2p import open_libp2p
from meshgen.net.memory import Event
from meshgen.net.port import Net, PeerId
from meshgen.peers.directory import advert_key, model_key, table_rules
from meshgen.peers.market import offer_topic
from meshgen.peers.peer import system_ms
from meshgen.pictures import text_of
from meshgen.protocols.advert import FAMILIES, Advert
from meshgen.protocols.credit import net_id
from meshgen.protocols.envelope import unsign
from meshgen.protocols.offer import Offer
from tests.e2e.conftest import CHARTER, WORKERS, Town
from tests.e2e.needles import PROMPT, SEED, WORDS, leaks, writings
from tests.peers.virtual import pictures_of, virtual_mesh

MESH = net_id(CHARTER.encode())
T = TypeVar("T")
Haystack = dict[str, list[bytes]]


def test_the_needles_are_found_where_they_are() -> None:
    for word in WORDS:
        for shift in range(4):
            for writing in writings("x" * shift + word + "y" * shift):
                assert leaks({"here": [b"..." + writing + b"..."]}), writing
    assert not leaks({"here": [b"a picture of something else"]})


async def test_nothing_crosses_the_mesh_in_clear(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Every gossip message, every table entry, and even every message between two peers, of a whole mesh in memory."""
    caplog.set_level(logging.DEBUG)
    heard: Haystack = defaultdict(list)

    def listen(event: Event) -> None:
        heard[event.kind] += [event.name.encode(), event.data]

    async with virtual_mesh() as mesh:
        mesh.net.trace = listen
        await mesh.add("hub", "hub archivist")
        await mesh.worker("w1")
        await mesh.worker("w2")
        asker = await mesh.requester()
        job = await pictures_of(asker, PROMPT, negative_prompt=WORDS[1], count=5, seed=SEED)
        poor = await pictures_of(asker, PROMPT, seed=SEED, max_mkudos=1)
        await trio.sleep(30)
        for name, node in mesh.nodes.items():
            for author, head in node.ledger.heads():
                heard[f"log of {name}"] += node.ledger.entries(author, 1, head.seq)
    assert (job.state, poor.state) == ("done", "failed")
    assert leaks({"picture": [picture.data for picture in job.results.values()]}), "the needle can be found"
    assert any(b"fake" in data for data in heard["gossip"]), "offers were gossiped"
    assert {"message", "gossip", "value", "provide", "log of hub"} <= heard.keys()
    heard["words"] = [record.getMessage().encode() for record in caplog.records]
    heard["told"] = [note.encode() for note in (*job.notes, *poor.notes, job.error, poor.error)]
    seeds = heard.pop("message")  # a picture's seed goes back to who asked, over the encrypted channel
    assert leaks(heard) == []
    assert leaks({"message": seeds}, seed=False) == []


async def test_nothing_leaks_from_real_processes(town: Town) -> None:
    """Gossip and table as a third node sees them; log lines at level debug, credit logs, every other file, every command line."""
    heard: Haystack = defaultdict(list)
    identity = Identity.from_seed(bytes(31) + b"\x07")
    peers = [PeerId(node.peer_id) for node in town.mesh.nodes.values()]
    async with (
        open_libp2p(identity, ["/ip4/127.0.0.1/tcp/0"], [town.node("hub").address()], table=table_rules(system_ms)) as net,
        trio.open_nursery() as nursery,
    ):
        for topic in (f"/meshgen/{MESH.hex()}/presence", *(offer_topic(MESH, family) for family in FAMILIES)):
            await nursery.start(overhear, net, topic, heard)
        await until(net.links)
        await trio.sleep(2)  # GossipSub's heartbeat: the observer has joined the topics
        jobs = await trio.to_thread.run_sync(run_jobs, town)
        await until(lambda: len(heard["gossip"]) >= 2)
        await read_table(net, heard, peers)
        nursery.cancel_scope.cancel()

    assert [job["state"] for job in jobs] == ["done", "failed"]
    pictures = [town.requester.fetch(picture["url"]) for picture in jobs[0]["results"]]
    assert PROMPT in text_of(pictures[0])["parameters"], "the needle is somewhere"
    assert leaks({"pictures": pictures})
    offers = [wire for wire in heard["gossip"] if is_offer(wire)]
    assert offers, "an offer was overheard"
    assert all(unsign(wire, Offer).message.model == "fake" for wire in offers)
    assert any(unsign(value, Advert).message.models for value in heard["table"]), "an advert was read from the table"
    heard |= files(town)
    heard["command lines"] = list(command_lines(town))
    assert any(b"--home" in line for line in heard["command lines"])
    assert leaks(heard) == []


async def overhear(net: Net, topic: str, heard: Haystack, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    async with net.subscribe(topic, lambda _sender, _data: True) as messages:
        task_status.started()
        async for gossip in messages:
            heard["gossip"].append(gossip.data)


async def until(condition: Any, seconds: float = 20) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - other processes have no events
            await trio.sleep(0.05)


async def read_table(net: Net, heard: Haystack, peers: list[PeerId]) -> None:
    """Every node's value and the model's providers; a newcomer to the table finds them after a while."""
    with trio.fail_after(30):
        for peer in peers:
            heard["table"].append(await something(net.get_value, advert_key(peer)))
        found = await something(net.find_providers, model_key(MESH, "fake"))
    heard["providers"] = [peer.encode() for peer in found]


async def something(ask: Callable[[str], Awaitable[T | None]], key: str) -> T:
    while True:
        if found := await ask(key):
            return found
        await trio.sleep(0.5)


def run_jobs(town: Town) -> list[dict[str, Any]]:
    """One that is done, and one that nobody takes at this price: its offer is gossiped for certain."""
    body = {"prompt": PROMPT, "negative_prompt": WORDS[0], "seed": SEED}
    done = town.await_job(town.submit(**body, count=4))
    return [done, town.await_job(town.submit(**body, max_mkudos=1))]


def is_offer(wire: bytes) -> bool:
    try:
        unsign(wire, Offer)
    except ValueError:
        return False
    return True


def files(town: Town) -> Haystack:
    """Every file of every home, among them logs, credit logs with what is not checkpointed yet, run files."""
    found = {str(path.relative_to(town.mesh.root)): [path.read_bytes()] for path in town.mesh.root.rglob("*") if path.is_file()}
    for name in (*WORKERS, "requester", "hub"):
        assert b"DEBUG" in found[f"{name}/node.log"][0], "the log says all that it can"
        assert f"{name}/run/api.json" in found
        with open_read_only(town.node(name).home) as store:
            rows = [row for author in store.authors() for row in store.chain(author)]
            assert rows, "entries were read, not only the file"
            found[f"{name}'s entries"] = [repr(row).encode() for row in rows]
    assert any(name.endswith("-wal") for name in found)
    return found


def command_lines(town: Town) -> Iterator[bytes]:
    for node in town.mesh.nodes.values():
        for name in ("cmdline", "environ"):
            yield Path(f"/proc/{node.process.pid}/{name}").read_bytes()
