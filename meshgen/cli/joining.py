"""Getting into a mesh: asking those in an invite for its charter, and keeping at home what a member needs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from meshgen.cli.config import settings_of
from meshgen.cli.enacting import keep_at
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.init import config_text
from meshgen.cli.keyfiles import begin_key
from meshgen.home import CONFIG_FILE
from meshgen.identity import Identity
from meshgen.net.port import NetError, PeerId
from meshgen.peers.charter_home import keep_through
from meshgen.peers.charters import fetch_charters
from meshgen.peers.directory import table_rules
from meshgen.peers.mesh_key import keep_key, mesh_key
from meshgen.peers.peer import system_ms
from meshgen.protocols.charter import Lineage
from meshgen.protocols.codec import Malformed
from meshgen.protocols.invite import Invite
from meshgen.settings.text import with_settings

if TYPE_CHECKING:
    from meshgen.net.libp2p import Libp2pNet

ANSWER_S = 20.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What a newcomer takes home. ``answered`` is the address where somebody confirmed it; "" if nobody was asked."""

    lineage: Lineage
    addresses: tuple[str, ...] = ()
    psk: bytes = b""
    answered: str = ""


# -- asking


def ask_all(invite: Invite, psk: bytes | None) -> Entry:
    """The mesh as the first good one of the invited peers tells it. Raises Fault with what became of each."""
    if not invite.addresses:
        raise Fault("this invite names nobody to ask", _OFFLINE if invite.name else "it needs the charter: --charter FILE")
    lineage, address = trio.run(partial(_ask_all, invite, psk))
    return Entry(lineage, invite.addresses, invite.psk, address)


_OFFLINE = "to join without asking anybody: --offline"


async def _ask_all(invite: Invite, psk: bytes | None) -> tuple[Lineage, str]:
    """As a stranger with a key of the moment: the home's own may be in use, and nobody needs to know who asks."""
    from meshgen.net.libp2p import open_libp2p

    failed: dict[str, str] = {}
    found: list[tuple[Lineage, str]] = []
    stranger = Identity.from_seed(os.urandom(32))
    async with open_libp2p(stranger, ["/ip4/127.0.0.1/tcp/0"], table=table_rules(system_ms), psk=psk) as net:
        with trio.move_on_after(ANSWER_S):
            async with trio.open_nursery() as nursery:

                async def ask(addresses: list[str]) -> None:
                    try:
                        found.append(await _mesh_from(net, addresses, invite))
                        nursery.cancel_scope.cancel()
                    except (NetError, Malformed, ValueError) as error:
                        failed.update((address, _reason(str(error), address)) for address in addresses)

                for addresses in _by_peer(invite.addresses):
                    nursery.start_soon(ask, addresses)
    if found:
        return found[0]
    tried = (f"{address}: {failed.get(address, f'no answer in {ANSWER_S:.0f} s')}" for address in invite.addresses)
    raise Fault("\n".join(["nobody in this invite could be asked:", *tried]), _hint(invite, psk), code="unreachable")


def _by_peer(addresses: Iterable[str]) -> list[list[str]]:
    """A peer is dialled once, at all of its addresses."""
    peers: dict[str, list[str]] = {}
    for address in addresses:
        peers.setdefault(address.rpartition("/p2p/")[2], []).append(address)
    return list(peers.values())


async def _mesh_from(net: Libp2pNet, addresses: list[str], invite: Invite) -> tuple[Lineage, str]:
    """With the address that led there. Raises NetError, Malformed, ValueError."""
    peer = await _reach(net, addresses)
    at = next((each for link in net.links() for each in addresses if each.startswith(f"{link.address}/")), addresses[0])
    documents = await fetch_charters(net, peer, invite.net, 0)
    if invite.name:
        return Lineage.plain(invite.name), at
    while documents and (more := await fetch_charters(net, peer, invite.net, len(documents))):
        documents += more
    if not documents:
        raise Malformed("it has no charter of this mesh")
    return ensured(Lineage.of(documents), invite), at


async def _reach(net: Libp2pNet, addresses: list[str]) -> PeerId:
    """At the first of a peer's addresses that answers. Raises NetError, ValueError."""
    from meshgen.net.libp2p.dial import parse_address

    parsed = [parse_address(address) for address in addresses]
    peer = parsed[0][0]
    await net.dialer.reach(peer, [way for _, way in parsed])
    return PeerId(str(peer))


def _reason(text: str, address: str) -> str:
    """What a fault says of one address, without who and where, which stand before it."""
    where = re.escape(address.rpartition("/p2p/")[0])
    said = re.search(rf"{where}: ([^;]*)", text)
    return said[1] if said else text.rpartition(" can't be dialled: ")[2]


def _hint(invite: Invite, psk: bytes | None) -> str:
    key = "" if psk else "; a private mesh needs the line with its key in it, or `meshgen mesh key set`"
    return f"does one of them run, and can this machine reach it?{key}" + (f"\n{_OFFLINE}" if invite.name else "")


def ensured(lineage: Lineage, invite: Invite) -> Lineage:
    """Raises Malformed if this is another mesh than the one invited to."""
    if not lineage.documents or lineage.documents[0].hash != invite.charter:
        raise Malformed(f"that is the charter of another mesh, {lineage.net.hex()}, not of {invite.net.hex()}")
    return lineage


# -- keeping


def key_for(home: Path, invite: Invite) -> bytes | None:
    """The invite's key, else the one that is at home already. Raises CharterError."""
    return invite.psk or mesh_key(home)


def take_home(home: Path, entry: Entry, profile: str | None, alias: str) -> str:
    """Make the home if there is none, and keep all of it there; gives the peer id. Raises Fault, CharterError.

    In this order, so that whatever cuts it off can be done again: the mesh, its key, the settings, the addresses.
    """
    text = _settings_text(home, entry, profile, alias)
    me = begin_key(home)
    try:
        keep_at(home, entry.lineage)
        if entry.psk:
            keep_key(home, entry.psk)
        (home / CONFIG_FILE).write_text(text, "utf-8")
        for address in entry.addresses:
            keep_through(home, address)
    except OSError as error:
        raise BadHome(
            f"the home {home} can't be made: {error.strerror}", "give a folder that you may write to with --home"
        ) from None
    return me.peer_id


def _settings_text(home: Path, entry: Entry, profile: str | None, alias: str) -> str:
    """The home's settings with what the mesh wants of them. Raises Fault."""
    file, wanted = home / CONFIG_FILE, _wanted(entry)
    if not file.exists():
        return config_text(profile or "laptop", {"node.alias": alias} | wanted)
    if profile or alias:
        raise Fault(f"{file} is there already", "edit node.alias and profile there; join without --alias and --profile")
    settings = settings_of(home)
    if entry.lineage.documents and "charter" in settings.mesh.model_fields_set and settings.mesh.charter != _name(entry):
        raise BadHome(
            f"{file} says mesh.charter: {settings.mesh.charter}, and this is an invite to {_name(entry)}",
            "take that line out of it, or use another home: meshgen --home FOLDER join",
        )
    changes: dict[str, Any] = {key: value for key, value in wanted.items() if settings.mesh.charter != value}
    if "bootstrap" in settings.mesh.model_fields_set:  # else those that the home joined through are taken
        changes["mesh.bootstrap"] = list(dict.fromkeys((*settings.mesh.bootstrap, *entry.addresses)))
    text = file.read_text("utf-8")
    return with_settings(text, changes) if changes else text


def _wanted(entry: Entry) -> dict[str, Any]:
    return {} if entry.lineage.documents else {"mesh.charter": _name(entry)}


def _name(entry: Entry) -> str:
    return entry.lineage.current.name
