"""A charter as `meshgen mesh` shows it: to people, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.verb import count, kudos

if TYPE_CHECKING:
    from meshgen.protocols.charter import Charter, Lineage, SignedCharter


def mesh_document(lineage: Lineage) -> dict[str, Any]:
    found = _body(lineage.current) | {"net": lineage.net.hex(), "hash": lineage.hash.hex()}
    signers = [_peer(signature.key) for document in lineage.documents[-1:] for signature in document.signatures]
    return found | {"signed_by": signers, "complete": True}


def file_document(signed: SignedCharter, rules: Charter | None) -> dict[str, Any]:
    signers = [_peer(signature.key) for signature in signed.signatures]
    found = _body(signed.charter) | {"hash": signed.hash.hex(), "signed_by": signers}
    return found | ({"missing": max(0, rules.threshold - len(signed.signers(rules.delegates)))} if rules else {})


def _body(charter: Charter) -> dict[str, Any]:
    keys = {"delegates": [_peer(key) for key in charter.delegates], "parent": charter.parent.hex()}
    return asdict(charter) | keys | {"treasury": _peer(charter.treasury) if charter.treasury else ""}


def mesh_text(lineage: Lineage) -> str:
    lines = [f"{_bold('mesh id')} {lineage.net.hex()}"]
    if not lineage.documents:
        lines += [f"{_bold('name')} {lineage.current.name}, a plain name: the default tariff, nobody can change it"]
        return "\n".join([*lines, *_prices(lineage.current)])
    current = lineage.documents[-1]
    rules = lineage.documents[-2].charter if len(lineage.documents) > 1 else lineage.current
    return "\n".join([*lines, file_text(current, rules)])


def file_text(signed: SignedCharter, rules: Charter | None) -> str:
    charter, keys = signed.charter, {signature.key for signature in signed.signatures}
    lines = [f"{_bold('name')} {charter.name}, version {charter.version}", f"{_bold('hash')} {signed.hash.hex()}"]
    if charter.about:
        lines.append(f"{_bold('about')} {charter.about}")
    if rules is None:
        lines.append(f"{_bold('signatures')} {len(keys)}, not checked: its parent version is not in this home")
    else:
        lines.append(f"{_bold('signatures')} {len(signed.signers(rules.delegates))} valid of {rules.threshold} needed")
        lines += [f"{_bold('')} {'signed ' if key in keys else 'missing'} {_peer(key)}" for key in rules.delegates]
    if rules and charter.delegates != rules.delegates:
        lines += [f"{_bold('from then on')} {_peer(key)}" for key in charter.delegates]
    lines.append(f"{_bold('a change')} needs {charter.threshold} of {count(len(charter.delegates), 'delegate')}")
    if charter.members == "listed":
        lines.append(
            f"{_bold('members')} those alone whom {count(charter.roll_threshold, 'delegate')} admitted: meshgen mesh members"
        )
    lines += [f"{_bold('join through')} {address}" for address in charter.bootstrap]
    if charter.treasury:
        lines.append(f"{_bold('treasury')} {_peer(charter.treasury)}")
    if charter.relay_gib_mkudos:
        lines.append(f"{_bold('relays')} {kudos(charter.relay_gib_mkudos)} kudos for each GiB carried")
    return "\n".join([*lines, *_prices(charter)])


def _prices(charter: Charter) -> list[str]:
    from meshgen.peers.tariff import ImageWork, image_mkudos

    shown = []
    for family, side, steps in (("sd1", 512, 30), ("sdxl", 1024, 30)):
        works = (ImageWork(side, side, steps, family, shared=given) for given in (False, True))
        price, shared = (image_mkudos(work, charter.tariff) for work in works)
        shown.append(f"{family} {side}x{side} in {steps} steps: {kudos(price)} kudos, {kudos(shared)} if shared")
    return [f"{_bold('tariff' if not place else '')} {line}" for place, line in enumerate(shown)]


def _bold(name: str) -> str:
    return click.style(f"{name:12}", bold=True)


def _peer(key: bytes) -> str:
    from meshgen.identity import peer_id

    return peer_id(key)
