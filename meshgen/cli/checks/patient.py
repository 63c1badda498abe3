"""The node under examination; what several checks need is found out once."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshgen.cli.client import Api
from meshgen.cli.config import settings_in_force, settings_of
from meshgen.cli.faults import Fault, NotRunning, Silent
from meshgen.cli.whom import People

if TYPE_CHECKING:
    from meshgen.cli.checks.stranger import Visit
    from meshgen.settings import Settings


class Patient:
    def __init__(self, home: Path) -> None:
        self.home = home

    # -- the running node, if there is one

    @cached_property
    def status(self) -> dict[str, Any] | NotRunning:
        """What it says of itself."""
        try:
            return dict(Api.of(self.home).get("/v1/status"))
        except NotRunning as absent:
            return absent

    @property
    def running(self) -> dict[str, Any]:
        """The same; empty if it does not run."""
        return {} if isinstance(self.status, NotRunning) else self.status

    @property
    def lives(self) -> bool:
        """Is there a node, though it may not answer?"""
        return bool(self.running) or isinstance(self.status, Silent)

    @cached_property
    def selftest(self) -> dict[str, Any]:
        """What it finds when it looks at the mesh; empty if it does not run, or is too old to be asked."""
        if not self.running:
            return {}
        try:
            return dict(Api.of(self.home).post("/v1/selftest"))
        except Fault:
            return {}

    @property
    def ahead_s(self) -> float | None:
        """How far its clock is ahead of its peers', if it could tell."""
        skew_ms = (self.running.get("clock") or {}).get("skew_ms")
        return None if skew_ms is None else skew_ms / 1000

    def connected(self) -> int:
        return int(self.running.get("connected", 0))

    # -- the home

    @cached_property
    def settings(self) -> Settings | Fault:
        """Those of the running node, which may have got some on its command line; else the home's."""
        try:
            return settings_in_force(self.home) if self.running else settings_of(self.home)
        except Fault as fault:
            return fault

    def usable(self) -> Settings | None:
        return None if isinstance(self.settings, Fault) else self.settings

    def has_role(self, *roles: str) -> bool:
        settings = self.usable()
        return settings is not None and not set(roles).isdisjoint(settings.node.roles)

    @cached_property
    def doors(self) -> tuple[str, ...]:
        """The addresses that it joins through."""
        from meshgen.peers.charter_file import CharterError
        from meshgen.peers.charter_home import doors

        settings = self.usable()
        if settings is None:
            return ()
        try:
            return doors(self.home, settings)
        except CharterError:  # the check of the mesh says what is wrong
            return settings.mesh.bootstrap

    @cached_property
    def blocked(self) -> tuple[str, ...]:
        """Whom its owner blocks now, as people call them; empty if it does not run."""
        settings = self.usable()
        if settings is None or not settings.node.block or not self.running:
            return ()
        from meshgen.settings.blocking import parse_block

        people, now_ms = People(Api.of(self.home)), time.time_ns() // 1_000_000
        return tuple(people.called(one.who) for one in map(parse_block, settings.node.block) if one.holds(now_ms))

    # -- others

    @cached_property
    def mesh(self) -> str:
        """Its id in hex; "" if the home's files don't tell."""
        from meshgen.peers.charter_file import CharterError
        from meshgen.peers.charter_home import lineage_of

        settings = self.usable()
        try:
            return lineage_of(self.home, settings).net.hex() if settings else ""
        except (CharterError, PermissionError):
            return ""

    def elsewhere(self, address: str) -> str:
        """The mesh of the node at a door, if it is another one."""
        visit = self.visits.get(address)
        return visit.net if visit and self.mesh and visit.net not in ("", self.mesh) else ""

    @cached_property
    def visits(self) -> dict[str, Visit]:
        """What a stranger finds at each door that the node itself is not connected to, and at one that it is."""
        from meshgen.cli.checks.stranger import visit_all

        if "table" in self.selftest:  # and with it the own advert lies in the DHT, to be found
            linked = [door["address"] for door in self.selftest["doors"] if door["linked"]]
            wanted = [door for door in self.doors if door not in linked] + linked[:1]
            wanted = wanted or self.running.get("addresses", [])[:1]
        else:
            wanted = list(self.doors)
        return visit_all(self.home, tuple(wanted), str(self.running.get("peer_id", "")))
