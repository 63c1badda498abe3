"""Users: the accounts of the mesh, as far as their peers are known here. The node's owner is one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.names import user_id, username
from meshgen.identity import public_key_of


@dataclass(frozen=True, slots=True)
class User:
    account: bytes
    alias: str
    peers: tuple[str, ...]
    """Ids of its devices that are known here."""
    workers: tuple[str, ...]
    """Those of them that work for others."""

    @property
    def id(self) -> int:
        return user_id(self.account)

    @property
    def username(self) -> str:
        return username(self.alias, self.account)

    @property
    def ids(self) -> frozenset[int]:
        """Its own, and those that its devices go by until their account is known here."""
        return frozenset((self.id, *(user_id(public_key_of(peer)) for peer in self.peers)))


class People:
    def __init__(self, node: NodeFace) -> None:
        self._node = node

    @property
    def owner(self) -> User:
        return next(self._users())

    def users(self) -> list[User]:
        """The owner first."""
        return list(self._users())

    def by_id(self, number: int) -> User | None:
        return next((user for user in self._users() if number in user.ids), None)

    def by_name(self, name: str) -> list[User]:
        """More than one only if somebody made an account to be taken for another's."""
        alias, _, number = name.rpartition("#")
        return [user for user in self._users() if user.username == name or (alias == user.alias and number in map(str, user.ids))]

    def of_worker(self, peer: str) -> User | None:
        return next((user for user in self._users() if peer in user.peers), None)

    def balance(self, peer: str) -> dict[str, Any]:
        return self._node.credit.balance(public_key_of(peer))

    def _users(self) -> Iterator[User]:
        found: dict[bytes, User] = {}
        for row in (self._own_row(), *self._node.peers()):
            account = bytes.fromhex(self.balance(row["peer_id"])["account"])
            user = found.get(account) or User(account, row["alias"], (), ())
            works = (row["peer_id"],) if "worker" in row["roles"] else ()
            found[account] = User(account, user.alias or row["alias"], (*user.peers, row["peer_id"]), (*user.workers, *works))
        yield from found.values()

    def _own_row(self) -> dict[str, Any]:
        status = self._node.status()
        roles = ["worker"] if self._node.overseer is not None else []
        return {"peer_id": self._node.peer_id, "alias": status["alias"], "roles": roles}
