"""Rows about peers, models and logs, as the local API shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from meshgen.ledger.verify import Report
from meshgen.net.port import PeerId, PeerLink
from meshgen.protocols.advert import Advert
from meshgen.protocols.envelope import Signed


def peer_rows(
    adverts: Iterable[Signed[Advert]], linked: Iterable[PeerLink], rtt_ms: Callable[[PeerId], int | None] = lambda _: None
) -> list[dict[str, Any]]:
    """Everybody who advertises, then those who are only linked. ``rtt_ms``: the way there and back, if it was measured."""
    links = {link.peer: link for link in linked}
    rows = [_peer_row(signed.peer, signed.message) | _way(links.get(PeerId(signed.peer)), rtt_ms) for signed in adverts]
    known = {row["peer_id"] for row in rows}
    return rows + [_stranger_row(peer) | _way(link, rtt_ms) for peer, link in links.items() if peer not in known]


def mesh_models(adverts: Iterable[Advert]) -> list[dict[str, Any]]:
    """Each model that is offered; those of most workers first."""
    found: dict[str, dict[str, Any]] = {}
    for advert in adverts:
        for model in advert.models:
            row = found.setdefault(model.name, {"name": model.name, "digests": [], "workers": 0, "queued": 0})
            row["family"], row["default_side"] = model.family, model.default_side
            row["context"] = max(model.context, row.get("context", 0))
            row["digests"] = sorted({*row["digests"], model.digest.hex()})
            row["workers"] += 1
            row["queued"] += advert.queued
    return sorted(found.values(), key=lambda row: (-row["workers"], row["name"]))


def mesh_adapters(adverts: Iterable[Advert]) -> list[dict[str, Any]]:
    """Each LoRA, inversion, ControlNet and post-processor that is offered; those of most workers first."""
    found: dict[bytes, dict[str, Any]] = {}
    for adapter in (adapter for advert in adverts for adapter in advert.adapters):
        row = {"name": adapter.name, "kind": adapter.kind, "family": adapter.family, "digest": adapter.digest.hex()}
        found.setdefault(adapter.digest, row | {"workers": 0})["workers"] += 1
    return sorted(found.values(), key=lambda row: (row["kind"], -row["workers"], row["name"]))


def _peer_row(peer: str, advert: Advert) -> dict[str, Any]:
    return {
        "peer_id": peer,
        "alias": advert.alias,
        "agent": advert.agent,
        "roles": list(advert.roles),
        "device": advert.device_kind,
        "device_name": advert.device_name,
        "vram_total_mib": advert.vram_total_mib,
        "vram_free_mib": advert.vram_free_mib,
        "models": [model.name for model in advert.models],
        "policies": list(advert.policies),
        "queued": advert.queued,
        "slots": advert.slots,
        "max_pixels": advert.max_pixels,
        "address": next(iter(advert.addresses), ""),
        "addresses": list(advert.addresses),
    }


def _way(link: PeerLink | None, rtt_ms: Callable[[PeerId], int | None]) -> dict[str, Any]:
    """How it is connected, if it is."""
    if link is None:
        return {"connected": False, "relayed": False, "rtt_ms": None}
    return {"connected": True, "relayed": link.relayed, "rtt_ms": rtt_ms(link.peer), "address": link.address}


def _stranger_row(peer: str) -> dict[str, Any]:
    return {"peer_id": peer, "alias": "", "roles": [], "models": []}


def local_model(model: Any) -> dict[str, Any]:
    return {"name": model.name, "digest": model.digest.hex(), "path": str(model.path)}


def report_as_dict(report: Report) -> dict[str, Any]:
    """What ``meshgen credit verify`` and the demo's report show of a checked log."""
    return {
        "ok": report.ok,
        "entries": report.entries,
        "authors": len(report.heads),
        "faults": [str(fault) for fault in report.faults],
        "forks": len(report.forks),
        "total_mkudos": report.total,
        "balance_mkudos": report.balance.net,
    }
