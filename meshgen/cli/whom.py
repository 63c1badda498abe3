"""Peers as people name them: a whole peer id, an alias, or the beginning or end of a peer id, where only one peer fits."""

from __future__ import annotations

from typing import Any

from meshgen.cli.client import Api
from meshgen.cli.faults import Fault

MIN_PART = 4
"""Characters of a peer id that are enough, if only one peer fits."""


class People:
    """Who is known to the running node. Aliases are their owners' choice and prove nothing."""

    def __init__(self, api: Api) -> None:
        self._own = str(api.get("/v1/status")["peer_id"])
        rows: list[dict[str, Any]] = api.get("/v1/peers")["peers"]
        self._aliases = {str(row["peer_id"]): str(row.get("alias") or "") for row in rows}

    def find(self, text: str) -> str:
        """The peer id that is meant; "" stays "". Raises Fault."""
        if not text or is_peer_id(text):
            return text
        name, sign, end = text.rpartition("#")  # as the node calls peers: bob#x7f2qA, peer#x7f2qA
        fitting = [peer for peer, alias in self._aliases.items() if alias == text]
        called = {peer: alias or "peer" for peer, alias in self._aliases.items()}
        fitting += [peer for peer, known in called.items() if sign and known == name and end and peer.endswith(end)]
        fitting = fitting or [peer for peer in (*self._aliases, self._own) if _is_part(text, peer)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise Fault(
                f"{len(fitting)} peers are called {text[:40]!r}", "give the peer id, from `meshgen peers`", code="ambiguous"
            )
        raise Fault(f"{text[:40]!r} is not a peer id, and no peer known here has that alias", "`meshgen peers` shows them")

    def name(self, peer: str) -> str:
        """Short, for tables: the alias and the end of the peer id."""
        if peer == self._own:
            return "this node"
        alias, tail = self._aliases.get(peer, ""), f"..{peer[-6:]}"
        return f"{alias} {tail}" if alias else tail

    def called(self, who: str) -> str:
        """The same for a peer or an account."""
        return self.name(who) if is_peer_id(who) else f"account {who[:12]}"

    def full(self, peer: str) -> str:
        if peer != self._own and peer not in self._aliases:
            return f"{peer} (unknown here)"
        alias = "this node" if peer == self._own else self._aliases[peer]
        return f"{alias} ({peer})" if alias else peer


def is_peer_id(text: str) -> bool:
    from meshgen.identity import public_key_of

    try:
        return bool(public_key_of(text))
    except ValueError:
        return False


def _is_part(text: str, peer: str) -> bool:
    part = text.removeprefix("..")
    return len(part) >= MIN_PART and (peer.startswith(part) or peer.endswith(part))
