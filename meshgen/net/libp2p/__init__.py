"""The real net: py-libp2p behind :class:`meshgen.net.port.Net`.

``endpoint`` puts it together. How others are reached: ``dial``, ``addresses``, ``reach*``, ``relay*``, ``mdns``. What goes over a
connection: ``psk``, ``yamux``, ``frames``, ``wire``, ``channel``. The mesh's public places: ``gossip`` with ``intake``, ``table``
with ``keeping``. Who is let in: ``door``. Most hold cures for what was found in py-libp2p 0.8.
"""

from __future__ import annotations

from meshgen.net.libp2p.endpoint import Libp2pNet, Limits, RelayLimits, open_libp2p

__all__ = ["Libp2pNet", "Limits", "RelayLimits", "open_libp2p"]
