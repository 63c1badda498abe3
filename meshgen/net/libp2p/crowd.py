"""Who is let go where a node has no place left: the newest of those who crowd in from one place.

Keys cost nothing and addresses little, so a flood comes from few networks: who came alone stays while others stand in a crowd.
Only where nobody does, the one who is known least has to go.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SETTLED_S = 10.0
"""Who came alone is not judged when it is as young as this."""
NETWORKS = {4: 24, 6: 48}
"""What one customer of a provider's has, by IP version."""
OF_NETWORK = 4
"""So many of one network weigh as much as one more of the same household: others live there, too."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A connection that somebody else opened. ``home`` is its household, "" where that is unknown."""

    home: str
    merit: float
    age_s: float


def whom_to_let_go(guests: Sequence[Guest]) -> int | None:
    """The index of the one to hang up on; None if all of them just came."""
    homes = Counter(each.home for each in guests if each.home)
    networks = Counter(network(each.home) for each in guests if each.home)
    crowds = [max(homes[each.home], networks[network(each.home)] // OF_NETWORK) if each.home else 1 for each in guests]
    weighed = [
        (crowd, -each.merit, -each.age_s, index)
        for index, (each, crowd) in enumerate(zip(guests, crowds, strict=True))
        if crowd > 1 or each.age_s > SETTLED_S
    ]
    return max(weighed)[-1] if weighed else None


@lru_cache(maxsize=1024)
def network(home: str) -> str:
    """That a household (``192.0.2.7``, ``2001:db8::/64``) is in; "" of ""."""
    if not home:
        return ""
    narrow = ipaddress.ip_network(home)
    return str(narrow.supernet(new_prefix=NETWORKS[narrow.version]))
