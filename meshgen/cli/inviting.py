"""What an invite holds: this home's mesh, its key, and the addresses at which a newcomer is best let in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshgen.cli.client import Api, NotRunning
from meshgen.cli.config import settings_in_force
from meshgen.cli.faults import Fault
from meshgen.identity import KEY_FILE, load_or_create
from meshgen.peers.acquaintances_file import PeersFile
from meshgen.peers.charter_home import doors, joined
from meshgen.peers.mesh_key import mesh_key
from meshgen.peers.peer import system_ms
from meshgen.protocols.codec import Malformed
from meshgen.protocols.invite import MAX_ADDRESSES, MAX_PEERS, Invite

if TYPE_CHECKING:
    from meshgen.settings import Settings

OWN_ADDRESSES = 2
OTHER_PEERS = 2
"""With these the line stays near 300 characters, and its code is read by any camera."""


def invite_of(home: Path, with_key: bool, chosen: Iterable[str] = ()) -> Invite:
    """From the running node, else from the home. ``chosen`` are addresses to name instead.

    Raises Fault, CharterError, Malformed.
    """
    if not (home / KEY_FILE).exists():
        raise Fault(
            f"there is no node in {home}, so there is no mesh to invite to",
            "found one with `meshgen mesh create NAME`, or join one with `meshgen join LINE`",
        )
    settings = settings_in_force(home)
    me = load_or_create(home).peer_id
    lineage, psk = joined(home), mesh_key(home) or b""
    status, peers = _told(home)
    addresses = [_whole(each, me) for each in chosen] or _best(home, settings, me, status, peers)
    if not addresses:
        raise Fault("nobody could reach this node: it has no address", "start it, or name one: --address /ip4/192.0.2.7/tcp/4711")
    name = (status.get("mesh") or {}).get("charter") or settings.mesh.charter
    return Invite.to(
        lineage.documents[0].hash if lineage else b"", "" if lineage else name, _within(addresses), psk if with_key else b""
    )


def _told(home: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Status and peers, as the running node tells them; nothing if none runs."""
    try:
        api = Api.of(home)
        return api.get("/v1/status"), api.get("/v1/peers")["peers"]
    except NotRunning:
        return {}, []


def _best(home: Path, settings: Settings, me: str, status: dict[str, Any], peers: list[dict[str, Any]]) -> list[str]:
    """This node's own, and a few others'; the others' first if nobody from outside can dial this one."""
    reach = status.get("reach") or {}
    others = [each for each in _others(home, settings, peers) if not each.endswith(me)][:OTHER_PEERS]
    own = _own(status.get("addresses", ()) or _listening(settings, me), others)
    return [*others, *own] if reach.get("state") == "private" else [*own, *others]


def _own(addresses: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those that reach farthest; loopback only where there is nothing else, and no way through those who are named anyway."""
    named = {each.rpartition("/p2p/")[2] for each in others}
    apart = (each for each in dict.fromkeys(addresses) if _can_be_told(each) and not named & set(each.split("/")))
    ranked = sorted(apart, key=_nearness)
    return [each for each in ranked if _nearness(each) < 3 or _nearness(ranked[0]) == 3][:OWN_ADDRESSES]


def _nearness(address: str) -> int:
    """0 anywhere, 1 in a local network, 2 through a relay, 3 on this machine."""
    if "/p2p-circuit" in address:
        return 2
    _, kind, host, *_ = address.split("/")
    if kind.startswith("dns"):
        return 3 if host == "localhost" else 0
    ip = ip_address(host)
    return 3 if ip.is_loopback else 0 if ip.is_global else 1


def _listening(settings: Settings, me: str) -> list[str]:
    """What a node that does not run will be reached at: as it announces, else where it listens."""
    listening = settings.mesh.announce or tuple(each for given in settings.mesh.listen for each in _expanded(given))
    return [_whole(each, me) for each in listening]


def _expanded(address: str) -> Iterator[str]:
    """All interfaces, where it says so."""
    _, kind, host, *rest = address.split("/")
    if host not in ("0.0.0.0", "::"):
        yield address
        return
    import psutil

    for interface in psutil.net_if_addrs().values():
        for each in interface:
            found = each.address.partition("%")
            if not found[1] and (":" in found[0]) == (kind == "ip6") and _is_ip(found[0]):
                yield "/".join(["", kind, found[0], *rest])


def _is_ip(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _others(home: Path, settings: Settings, peers: list[dict[str, Any]]) -> Iterator[str]:
    """One address each of those that this home joined through, and of hubs that it is connected to, or was."""
    hubs = [row for row in peers if row["connected"] and "hub" in row["roles"]] if peers else _remembered(home)
    ways = (_whole(each, row["peer_id"]) for row in hubs for each in row.get("addresses", ())[:1])
    seen: set[str] = set()
    for address in (*doors(home, settings), *ways):
        peer = address.rpartition("/p2p/")[2]
        if peer not in seen and _can_be_told(address) and _nearness(address) < 3:  # a stranger wrote some of them
            seen.add(peer)
            yield address


def _remembered(home: Path) -> list[dict[str, Any]]:
    """Hubs that a node which does not run knew, the best first."""
    hubs = (each for each in PeersFile(home).load() if "hub" in each.roles)
    ranked = sorted(hubs, key=lambda each: each.worth(system_ms()), reverse=True)
    return [{"peer_id": each.peer, "addresses": each.addresses} for each in ranked]


def _whole(address: str, peer: str) -> str:
    """With the peer it leads to, and its host in the one form."""
    start, kind, host, *rest = address.split("/") if address.count("/") > 2 else ["", "", ""]
    if kind.startswith("dns"):
        address = "/".join([start, kind, host.lower(), *rest])
    elif kind == "ip6" and _is_ip(host):
        address = "/".join([start, kind, str(ip_address(host)), *rest])
    return address if address.split("/")[-2:-1] == ["p2p"] else f"{address}/p2p/{peer}"


def _can_be_told(address: str) -> bool:
    try:
        return bool(Invite.to(b"", "a", [address]))
    except Malformed:
        return False


def _within(addresses: Iterable[str]) -> list[str]:
    """What an invite has room for."""
    peers: dict[str, list[str]] = {}
    for address in addresses:
        peers.setdefault(address.rpartition("/p2p/")[2], []).append(address)
    return [each for ways in islice(peers.values(), MAX_PEERS) for each in ways[:MAX_ADDRESSES]]
