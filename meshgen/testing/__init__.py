"""A virtual mesh for tests and for research: real peers, ledgers and protocols; virtual clock, net, disks, engines and chance.

A study is an async function of a mesh. The same seed gives the same trace, to the last byte of the last message::

    import trio
    from meshgen.testing import VirtualMesh, net_mkudos, pictures_of, simulate

    async def study(mesh: VirtualMesh) -> dict[str, int]:
        hub = await mesh.add("hub", "hub archivist")  # keeps every chain that it hears of
        for number in range(5):
            await mesh.worker(f"worker {number}", seconds=2.0)  # a picture takes so long
        asker = await mesh.requester()
        job = await pictures_of(asker, count=8)
        await mesh.kill("worker 0")  # and mesh.partition, heal, crash, restart, backup, restore
        await trio.sleep(24 * 3600)  # a day passes at once
        return {name: net_mkudos(hub, node) for name, node in mesh.nodes.items()}

    print(simulate(study, seed=7, delay_s=(0.01, 0.2), loss=0.02))

``mesh.nodes[name]`` is a :class:`meshgen.peers.peer.Peer`: its ``ledger`` tells what everybody owes as that peer sees it,
``mesh.trace`` hears every message, ``mesh.digest()`` sums up all that happened. Peers that don't keep to the protocols are
scripted with :func:`outsider` and :func:`false_worker`. ``python -m meshgen.testing --help`` runs a mesh of any size.

Nothing in here is for a real node: its keys, nonces and salts follow from a seed.
"""

from meshgen.testing.mesh import (
    EPOCH_MS,
    NET,
    VirtualMesh,
    identity,
    net_mkudos,
    now_ms,
    pictures_of,
    simulate,
    virtual_mesh,
)
from meshgen.testing.outsiders import Deal, FalseWorker, Outsider, Play, false_worker, outsider
from meshgen.testing.seeded import seeded
from meshgen.testing.trace import Trace

__all__ = [
    "EPOCH_MS",
    "NET",
    "Deal",
    "FalseWorker",
    "Outsider",
    "Play",
    "Trace",
    "VirtualMesh",
    "false_worker",
    "identity",
    "net_mkudos",
    "now_ms",
    "outsider",
    "pictures_of",
    "seeded",
    "simulate",
    "virtual_mesh",
]
