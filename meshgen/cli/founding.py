"""What `meshgen mesh create` and `join` make a charter from: options, files, and a member's answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from meshgen.cli.enacting import ensure_hash
from meshgen.cli.faults import Fault
from meshgen.identity import Identity, public_key_of
from meshgen.peers.charter_file import CharterError, load_mapping, parse_tariff
from meshgen.peers.charters import fetch_charters
from meshgen.peers.directory import table_rules
from meshgen.peers.peer import system_ms
from meshgen.protocols.charter import NET_BYTES, Charter, Lineage, Tariff
from meshgen.settings.addressing import peer_address

ANSWER_S = 20.0


def founding_charter(
    name: str,
    founder: bytes,
    threshold: int | None,
    *,
    delegates: Iterable[str],
    bootstrap: Iterable[str],
    tariff: Iterable[str],
    about: str,
    listed: bool = False,
) -> Charter:
    """Version 0. Raises CharterError, Malformed."""
    keys = tuple(sorted({founder, *map(_key, delegates)}))
    return Charter(
        name=name,
        about=about,
        delegates=keys,
        threshold=threshold or len(keys) // 2 + 1,
        bootstrap=_checked(bootstrap),
        tariff=Tariff(**_tariff(tariff)),
        members="listed" if listed else "open",
    )


def lineage_from(address: str, text: str, psk: bytes | None = None) -> Lineage:
    """The charter through all its versions, from the node at this address. Raises Fault, NetError, Malformed."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) not in (NET_BYTES, 32):
        raise Fault(
            "say which mesh: its id, or the whole hash of its founding charter, follows the address",
            "a member's `meshgen mesh show` tells it: 32 or 64 hex digits",
        )
    click.echo("asking there for the charter ...", err=True)
    lineage = trio.run(partial(_fetch, address, digest[:NET_BYTES], psk))
    ensure_hash(lineage, text)
    return lineage


async def _fetch(address: str, mesh: bytes, psk: bytes | None) -> Lineage:
    """As a stranger with a key of the moment: the home's own may be in use, and nobody needs to know who asks."""
    from meshgen.net.libp2p import open_libp2p

    stranger = Identity.from_seed(os.urandom(32))
    with trio.move_on_after(ANSWER_S):
        async with open_libp2p(stranger, ["/ip4/127.0.0.1/tcp/0"], table=table_rules(system_ms), psk=psk) as net:
            peer = await net.connect(address)
            documents = await fetch_charters(net, peer, mesh, 0)
            while more := await fetch_charters(net, peer, mesh, len(documents)):
                documents += more
            if not documents:
                raise Fault(f"the node there has no signed charter of the mesh {mesh.hex()}")
            return Lineage.of(documents)
    raise Fault(f"no answer came in {ANSWER_S:.0f} s from {address}")


def _key(peer: str) -> bytes:
    try:
        return public_key_of(peer)
    except ValueError:
        raise CharterError(f"--delegate: {peer[:70]!r} is no peer id; `meshgen status` shows a node's") from None


def _checked(addresses: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(map(peer_address, addresses)))
    except ValueError as error:
        raise CharterError(f"--bootstrap: {error}") from None


def _tariff(given: Iterable[str]) -> dict[str, Any]:
    """Later ones win. A file may hold the keys themselves, or a whole charter with its section ``tariff``."""
    values: dict[str, Any] = {}
    for word in given:
        key, equals, value = word.partition("=")
        values |= {key.strip(): value.strip()} if equals else _tariff_file(Path(word))
    return parse_tariff(values)


def _tariff_file(file: Path) -> Mapping[str, Any]:
    try:
        found = load_mapping(file.read_text("utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise CharterError(f"{file}: can't be read: {error}") from None
    section = found.get("tariff", found)
    return section if isinstance(section, dict) else {}
