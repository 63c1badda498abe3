"""A node's look at its place in the mesh, for `meshgen doctor`: who is connected, what is heard, does the DHT take its word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from meshgen.net.port import NetError

if TYPE_CHECKING:
    from meshgen.peers.peer import Peer

TABLE_S = 15.0
FRESH_MS = 60_000


async def selftest(peer: Peer, now_ms: int) -> dict[str, Any]:
    """Fit for JSON. Puts the own advert into the DHT, so that whoever looks for it now must find it."""
    return {"doors": doors(peer), "gossip": gossip(peer, now_ms), "table": await _table(peer)}


def doors(peer: Peer) -> list[dict[str, Any]]:
    """The addresses that it joins through."""
    linked = {link.peer for link in peer.net.links()}
    return [{"address": address, "linked": address.rpartition("/")[2] in linked} for address in peer.settings.mesh.bootstrap]


def gossip(peer: Peer, now_ms: int) -> dict[str, Any]:
    """``presence_s``: since the last advert that came by gossip; ``present``: peers whose advert is less than a minute old."""
    traffic, kind = peer.traffic, "presence"
    heard_s = traffic.heard_s.get(kind)
    adverts = [signed.message for signed in peer.directory.adverts()]
    return {
        "presence_s": None if heard_s is None else trio.current_time() - heard_s,
        "present": sum(now_ms - advert.seq < FRESH_MS for advert in adverts),
        "refused": traffic.gossip[kind, "refused"] + traffic.gossip[kind, "ignored"],
        "offers": sorted(topic.partition("/")[2] for topic in traffic.boxes if topic.startswith("offer/")),
    }


async def _table(peer: Peer) -> dict[str, Any]:
    begun_s, error = trio.current_time(), ""
    if peer.net.links():
        try:
            with trio.fail_after(TABLE_S):
                await peer.directory.put_own()
        except (NetError, ValueError) as refused:
            error = str(refused)
        except trio.TooSlowError:
            error = f"no answer within {TABLE_S:.0f} s"
    return {"error": error, "ms": round((trio.current_time() - begun_s) * 1000)}
