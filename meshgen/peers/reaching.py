"""Whether others get in, told to the log whenever that has changed: who set up a node at home waits for just this line."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Literal

from meshgen.net.port import Net, Reach

LOOPBACK = ("/ip4/127.", "/ip6/::1/", "/dns4/localhost/", "/dns/localhost/")
log = logging.getLogger(__name__)

Way = Literal["unknown", "directly", "relayed", "cut off"]


class ReachLog:
    """One line a change of the way; relays come and go without one, as long as there is any."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._way: Way = "unknown"

    def look(self) -> None:
        reach = self._net.reach()
        way, before = way_of(reach), self._way
        if way == before or (way == "unknown" and before != "relayed"):
            return
        self._way = way
        if way == "directly":
            log.info("others reach this node directly")
        elif way == "relayed":
            log.info("others reach this node through the relay %s", reach.relays[0])
        elif before == "relayed":
            log.info("no relay lets others through to this node any more; it looks for another")
        else:
            log.info("others can't reach this node yet: it is behind a router or firewall, and looks for a relay")


def is_alone(addresses: Iterable[str]) -> bool:
    """Does it listen, and where only its own machine can dial it?"""
    known = list(addresses)
    return bool(known) and all(address.startswith(LOOPBACK) for address in known)


def way_of(reach: Reach) -> Way:
    if reach.state == "public":
        return "directly"
    if reach.relays:
        return "relayed"
    return "cut off" if reach.state == "private" else "unknown"
