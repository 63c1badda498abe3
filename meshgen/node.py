"""A node as a process: opens the real seams in order, runs the peer on them, and closes everything in reverse.

Ends cleanly on Ctrl-C, SIGTERM or ``meshgen stop``; a second signal ends at once.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from meshgen.engine.bridge.bridge import Bridge
from meshgen.engine.models.catalog import Catalog, CatalogError
from meshgen.engine.port import Engine, EngineError
from meshgen.engine.several import Several
from meshgen.gateway.serve import GatewayError, serve_gateway
from meshgen.home import HomeError
from meshgen.identity import IdentityError
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import open_ledger
from meshgen.ledger.owner import home_key
from meshgen.logs import start_logging
from meshgen.migrations import open_home
from meshgen.net.libp2p import Limits, RelayLimits, open_libp2p
from meshgen.net.port import NetError
from meshgen.peers.charter_file import CharterError
from meshgen.peers.charter_home import doors, ensure_of_log, lineage_of
from meshgen.peers.directory import table_rules
from meshgen.peers.mesh_key import mesh_key
from meshgen.peers.peer import Peer, system_ms
from meshgen.peers.reaching import is_alone
from meshgen.peers.trouble import own_trouble
from meshgen.protocols.invite import neighbours_tag
from meshgen.settings import NodeSettings, Settings, Source, WorkerSettings
from meshgen.supervision import keep_telling, tell

log = logging.getLogger("meshgen")

ALCHEMY_FOLDER = "alchemy"
"""In the home: the owner's own weights for forms, see :mod:`meshgen.engine.alchemy`."""

FAULTS = (HomeError, IdentityError, LedgerError, NetError, GatewayError, EngineError, CharterError)
"""What can be wrong with the machine or the settings rather than with the program."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class NodeError(Exception):
    """The node can't run; the text says why and how to mend it."""


def run_node(settings: Settings, home: Path, source: Source | None = None) -> None:
    """Run until stopped; ``source`` is where settings are read again from, and written to. Raises NodeError."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        _start_log(settings.node, home)
        open_home(home)
        trio.run(_run, settings, home, source)
    except FAULTS as error:
        raise NodeError(str(error)) from error
    except BaseExceptionGroup as group:
        known, others = group.split(FAULTS)
        if known is None or others is not None:
            raise
        raise NodeError("; ".join(dict.fromkeys(str(error) for error in _leaves(known)))) from group


def _start_log(node: NodeSettings, home: Path) -> None:
    file = home / node.log_file if node.log_file else None
    try:
        start_logging(node.log_level, node.log_format, file)
    except OSError as error:
        start_logging(node.log_level, node.log_format)
        raise NodeError(f"{file} can't be written: {error.strerror}; see node.log_file") from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _run(settings: Settings, home: Path, source: Source | None) -> None:
    identity = home_key(home)
    lineage, catalog, psk = lineage_of(home, settings), Catalog(home), mesh_key(home)
    ensure_of_log(home, lineage)
    async with (
        open_ledger(home, identity, lineage.net, now_ms=system_ms, label=settings.node.alias) as ledger,
        open_libp2p(
            identity,
            settings.mesh.listen,
            doors(home, settings),
            table=table_rules(system_ms),
            mdns=neighbours_tag(lineage.net, psk) if settings.mesh.mdns else "",
            announce=settings.mesh.announce,
            limits=Limits(connections=settings.limits.connections),
            psk=psk,
            relay=_relay_limits(settings),
            upnp=settings.mesh.upnp,
        ) as net,
        _open_engine(settings, catalog, home) as engine,
    ):
        peer = Peer(settings, identity, net, ledger, engine, home=home, catalog=catalog, lineage=lineage)
        peer.settings_source = source
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, peer)
            await nursery.start(peer.run)
            url = await nursery.start(serve_gateway, peer, settings, home)
            log.info("node %s is ready; its API is at %s", peer.peer_id, url)
            _tell_doors(net.addresses())
            if trouble := own_trouble(ledger):
                log.log(
                    logging.WARNING if ledger.is_restored or ledger.is_copied else logging.ERROR, "%s", trouble
                )  # the first mends itself
            tell(READY="1")
            nursery.start_soon(keep_telling, partial(_in_a_line, peer))
            await peer.wait_stop()
            log.info("stopping")
            tell(STOPPING="1", STATUS="stopping")
            await _end_jobs(peer, settings.node.drain_s)
            nursery.cancel_scope.cancel()


def _tell_doors(addresses: Sequence[str]) -> None:
    """Where others may join; what only this machine can dial is no such place."""
    if is_alone(addresses):
        log.info(
            "nobody elsewhere can dial this node (mesh.listen names no other address, or there is no network): %s", addresses[0]
        )
    for address in addresses:
        if not is_alone([address]):
            log.info("others can join through %s", address)


def _in_a_line(peer: Peer) -> str:
    """For the service manager's status; no peer is named."""
    status = peer.status()
    worker = status["worker"]
    doing = f"; {worker['queued']} queued, {worker['pictures']} made" if worker else ""
    return status["trouble"] or f"{status['connected']} connected, {status['peers_known']} known{doing}"


async def _end_jobs(peer: Peer, for_s: float) -> None:
    """What was accepted from others is drawn and paid for, if there is time."""
    if peer.overseer is None or not for_s:
        return
    with trio.move_on_after(for_s):
        await peer.overseer.leave()


def _relay_limits(settings: Settings) -> RelayLimits | None:
    """What it carries for others; a hub, on a LAN say, is a relay unless its owner says otherwise."""
    mesh, limits = settings.mesh, settings.limits
    if mesh.relay == "off":
        return None
    return RelayLimits(
        always=mesh.relay == "on" or settings.has_role("hub"),
        reservations=limits.relay_peers,
        circuits_per_peer=limits.relay_circuits,
        bytes_per_s=limits.relay_kib_s * 1024,
    )


def _signals() -> tuple[signal.Signals, ...]:
    """A closed terminal stops the node too, unless it was started to outlive it (nohup)."""
    hangup = getattr(signal, "SIGHUP", None)
    return SIGNALS if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN else (*SIGNALS, hangup)


async def _stop_on_signal(peer: Peer) -> None:
    with trio.open_signal_receiver(*_signals()) as received:
        async for number in received:
            peer.request_stop()
            for one in SIGNALS:
                signal.signal(one, _end_at_once)
            log.info("%s: stopping; once more ends at once", signal.Signals(number).name)


def _end_at_once(number: int, _frame: object) -> None:
    os._exit(128 + number)


@asynccontextmanager
async def _open_engine(settings: Settings, catalog: Catalog, home: Path) -> AsyncIterator[Engine | None]:
    """The worker's engine; None if this node is no worker, or can't be one: it goes on without and says so. With a bridge it is
    one as soon as somebody asks it for jobs."""
    if not settings.has_role("worker"):
        yield None
        return
    async with AsyncExitStack() as stack:
        own = await _own_engine(stack, settings.worker, catalog, home)
        bridge = Bridge() if settings.worker.bridge else None
        yield Several(own, bridge) if own and bridge else own or bridge


async def _own_engine(stack: AsyncExitStack, worker: WorkerSettings, catalog: Catalog, home: Path) -> Engine | None:
    if worker.engine != "fake":
        return await _opened(stack, worker, catalog, home)
    from meshgen.engine.fake import FakeEngine, fake_model

    return FakeEngine([fake_model()], worker.fake_seconds, worker.slots)


async def _opened(stack: AsyncExitStack, worker: WorkerSettings, catalog: Catalog, home: Path) -> Engine | None:
    """What this machine can be a worker with: torch and alchemy, alchemy alone, or nothing."""
    alchemist = None
    await trio.to_thread.run_sync(_read_models, catalog)
    if importlib.util.find_spec("onnxruntime") is not None:
        from meshgen.engine.alchemy.alchemist import open_alchemist

        opening = open_alchemist(home / ALCHEMY_FOLDER, only=worker.forms, threads=worker.threads or None)
        alchemist = await stack.enter_async_context(opening)
    if importlib.util.find_spec("torch") is None and alchemist is not None:
        from meshgen.engine.alchemy.engine import AlchemyEngine

        log.info("without torch this node does alchemy alone; for pictures and texts: pip install 'meshgen-node[worker]'")
        return AlchemyEngine(alchemist)
    from meshgen.engine.pool.engine import open_engine

    engine = open_engine(
        catalog,
        device=worker.device,
        dtype=worker.dtype,
        threads=worker.threads or None,
        leave_free_mib=worker.vram_free_mib,
        max_batch=worker.max_batch,
        compiled=worker.compiled,
        quantized=worker.quantized,
        alchemist=alchemist,
    )
    try:
        return await stack.enter_async_context(engine)
    except EngineError as error:
        log.warning("this node can't be a worker%s: %s", " of its own" if worker.bridge else "", error)
        return None


def _read_models(catalog: Catalog) -> None:
    """What comes with packages is hashed when it is first looked at: in a thread, now, rather than on the loop later."""
    with suppress(CatalogError):  # the engine says so
        catalog.models()
