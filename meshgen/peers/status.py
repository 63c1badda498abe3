"""A peer as its owner sees it: `meshgen status`, the page, GET /v1/status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshgen import __version__
from meshgen.peers.trouble import own_trouble

if TYPE_CHECKING:
    from meshgen.peers.peer import Peer


def status_of(peer: Peer) -> dict[str, Any]:
    """What its owner sees of it, as JSON has it."""
    balance = peer.ledger.balance(peer.identity.public_key)
    return {
        "version": __version__,
        "peer_id": peer.peer_id,
        "alias": peer.settings.node.alias,
        "roles": list(peer.settings.node.roles),
        "mesh": mesh_status(peer),
        "membership": peer.community.membership.state,
        "trouble": own_trouble(peer.ledger) or peer.staying.clocks_trouble,
        "clock": peer.staying.pulse.clocks.status(),
        "home": str(peer.home) if peer.home else None,
        "uptime_s": (peer.now_ms() - peer.started_ms) // 1000,
        "addresses": peer.net.addresses(),
        "reach": _reach_status(peer),
        "connected": len(peer.net.links()),
        "peers_known": len({signed.peer for signed in peer.directory.adverts()} | {link.peer for link in peer.net.links()}),
        "jobs": _job_counts(peer),
        "worker": _worker_status(peer),
        "credit": {"net_mkudos": balance.net, "held_mkudos": balance.held, "entries": peer.ledger.head().seq}
        | {"digest": peer.ledger.digest().hex()},
    }


def mesh_status(peer: Peer) -> dict[str, Any]:
    charter = peer.charters.current
    signed = {"hash": peer.charters.lineage.hash.hex(), "delegates": len(charter.delegates), "threshold": charter.threshold}
    return {"charter": charter.name, "version": charter.version, "net": peer.ledger.net.hex()} | signed


def _reach_status(peer: Peer) -> dict[str, Any]:
    reach = peer.net.reach()
    return {
        "state": reach.state,
        "relays": len(reach.relays),
        "through": [peer.directory.alias(relay) for relay in reach.relays],
        "observed": list(reach.observed),
        "relayed_bytes": peer.net.relayed(),
        "carried_bytes": peer.net.carried(),
    }


def _job_counts(peer: Peer) -> dict[str, int]:
    counts: dict[str, int] = {}
    for job in peer.requester.jobs.values() if peer.requester else ():
        counts[job.state] = counts.get(job.state, 0) + 1
    return counts


def _worker_status(peer: Peer) -> dict[str, Any] | None:
    if peer.worker is None or peer.engine is None or peer.overseer is None or not peer.works:
        return None
    device, tally = peer.engine.device(), peer.worker.tally
    return {
        "device": device.kind,
        "device_name": device.name,
        "vram_total_mib": device.vram_total_mib,
        "vram_free_mib": device.vram_free_mib,
        "models": [model.name for model in peer.overseer.models()],
        "queued": peer.worker.queued,
        "current": [delivery.state() for delivery in peer.worker.current],
        "jobs": tally.jobs,
        "pictures": tally.pictures,
        "failed": tally.failed,
        "unpaid": tally.unpaid,
        "estimate_error": peer.engine.estimate_error(),
    } | peer.overseer.brief()
