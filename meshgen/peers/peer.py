"""A peer: its roles on seams that somebody opened (:mod:`meshgen.node` the real ones, tests the deterministic twins).

It composes and describes; what happens is in the roles.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from meshgen import __version__
from meshgen.engine.bridge.bridge import Bridge, bridge_of
from meshgen.engine.models.catalog import Catalog, CatalogError
from meshgen.engine.port import Engine, Room
from meshgen.engine.several import rooms_of
from meshgen.home import read_kin
from meshgen.identity import Identity, public_key_of
from meshgen.ledger.ledger import Ledger
from meshgen.ledger.standing import Verdict, decide
from meshgen.ledger.verify import verify_home
from meshgen.metrics import Metric
from meshgen.net.metered import Traffic, metered
from meshgen.net.port import Net
from meshgen.peers.accounting import Accounting
from meshgen.peers.acquaintances_file import PeersFile
from meshgen.peers.admission import worker_policy
from meshgen.peers.bookkeeping import Bookkeeping
from meshgen.peers.charter_file import parse_charter
from meshgen.peers.charter_home import keep, with_charter
from meshgen.peers.charters import Charters
from meshgen.peers.community import community_of, with_company
from meshgen.peers.describing import adapter_adverts, filled, model_adverts, plain
from meshgen.peers.directory import Directory
from meshgen.peers.figures import figures
from meshgen.peers.gate import Gate, Lists, gated
from meshgen.peers.market import Market
from meshgen.peers.means import Means, RequesterPolicy
from meshgen.peers.overseer import Overseer
from meshgen.peers.own import OwnEngine
from meshgen.peers.queue import Queue
from meshgen.peers.requester import Requester
from meshgen.peers.selftest import selftest
from meshgen.peers.status import mesh_status, status_of
from meshgen.peers.staying import Staying, Surroundings
from meshgen.peers.views import local_model, mesh_adapters, mesh_models, peer_rows, report_as_dict
from meshgen.peers.worker import Worker
from meshgen.peers.worth import worth
from meshgen.protocols.advert import (
    MAX_ADDRESS_BYTES,
    MAX_ADDRESSES,
    AdapterAdvert,
    Advert,
    ModelAdvert,
)
from meshgen.protocols.charter import Charter, Lineage
from meshgen.settings import Settings, Source, following

log = logging.getLogger(__name__)


def system_ms() -> int:
    return time.time_ns() // 1_000_000


class Peer:
    """A peer with its roles. What the gateway shows of it is in ``status``, ``peers`` and ``models``."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        net: Net,
        ledger: Ledger,
        engine: Engine | None,
        *,
        home: Path | None = None,
        catalog: Catalog | None = None,
        lineage: Lineage | None = None,
        now_ms: Callable[[], int] = system_ms,
        rng: random.Random | None = None,
        around: Surroundings | None = None,
    ) -> None:
        lineage = lineage or Lineage(ledger.net, Charter(settings.mesh.charter))
        self.traffic = Traffic()
        self.gate = gate = Gate(ledger, now_ms, Lists.of(settings))
        self.net = net = gated(metered(net, self.traffic), gate)
        save = partial(keep, home) if home and lineage.documents else None
        self.charters = Charters(net, ledger, lineage, save)
        self.community = community_of(net, self.charters, gate, home, identity)
        self.charters.on_change.append(self._follow_charter)
        self._given = settings
        self.settings_source: Source | None = None
        self.settings = settings = with_charter(settings, lineage.current)
        self.identity = identity
        self.ledger = ledger
        self.engine = engine
        self.home = home
        self.catalog = catalog
        self.started_ms = now_ms()
        self.now_ms = now_ms
        self._advert_seq = 0
        self._stop = trio.Event()
        self.directory = Directory(net, identity, ledger.net, now_ms, self._describe)
        net.watch_reach(self.directory.announce)
        self.staying = Staying(net, self.directory, now_ms, around or Surroundings(shelf=PeersFile(home) if home else None))
        self.staying.on_link.append(self.community.meet)
        self.staying.pulse.deals_with = lambda peer: peer in self.traffic.open
        rng = rng or random.Random(secrets.randbits(64))
        self.bookkeeping = self._open_books(random.Random(rng.random()))
        self.credit = Accounting(ledger, now_ms, self._verdict, self.bookkeeping.archivist.want)
        self.requester: Requester | None = None
        self.worker: Worker | None = None
        self.overseer: Overseer | None = None
        self.bridge: Bridge | None = None
        own = self._take_up_work(engine) if engine is not None and settings.has_role("worker") else None
        if settings.has_role("requester"):
            self.requester = Requester(self._means(own, rng))

    def _open_books(self, rng: random.Random) -> Bookkeeping:
        """Its view of the credit logs, by the charter, the owner's lists and the roll."""
        follow = frozenset(map(public_key_of, self.settings.node.follow))
        kin = frozenset((read_kin(self.home),) if self.home else ()) - {b""}
        keep_all = self.settings.has_role("archivist")
        books = Bookkeeping(self.net, self.ledger, self.directory, self.now_ms, rng, keep_all=keep_all, follow=follow, kin=kin)
        books.interest.stranger_entries = self.charters.current.limits.stranger_entries
        self.community.attend(self.directory, books)
        self.ledger.on_append.append(lambda _: self.directory.drifted())
        return books

    def _verdict(self, peer: bytes) -> Verdict:
        """How it would be served here."""
        return self.worker.verdict(peer) if self.worker else decide(self.ledger.standing(peer))

    def _take_up_work(self, engine: Engine) -> OwnEngine:
        """Become a worker. The engine is its owner's too."""
        rooms = rooms_of(engine)
        room = partial(_room, rooms.pop(""), self.settings.worker.slots)
        queue = Queue(room, on_change=self.directory.drifted, lanes=rooms)
        policy = worker_policy(self.settings, self.charters.current)
        archivist = self.bookkeeping.archivist
        self.overseer = overseer = Overseer(
            self.settings, self.charters.current, engine, self.now_ms, self.directory.changed, home=self.home
        )
        overseer.availability.membership = lambda: self.community.membership.state
        self.worker = worker = Worker(
            self.net, self.identity, self.ledger, archivist, engine, queue, policy, self.now_ms, self._own_advert, overseer
        )
        worker.heed(self.bookkeeping.advice.avoids)
        self.bridge = bridge_of(engine)
        if self.bridge is not None:
            self.bridge.worth = lambda work: worth(work, worker.policy)
            self.bridge.on_change += [self.directory.changed, queue.advance]
        return OwnEngine(
            engine, queue, lambda: model_adverts(engine.models(), engine), lambda: adapter_adverts(engine.adapters())
        )

    def _means(self, own: OwnEngine | None, rng: random.Random) -> Means:
        return Means(
            net=self.net,
            identity=self.identity,
            ledger=self.ledger,
            directory=self.directory,
            market=Market(self.net, self.identity, self.ledger.net, self.directory, self.now_ms, rng),
            own=own,
            policy=RequesterPolicy.of(self.settings),
            now_ms=self.now_ms,
            rng=rng,
            charter=lambda: self.charters.current,
            advice=self.bookkeeping.advice,
            why_outside=self.gate.why_outside,
            refusal_of=self.gate.refusal_of,
            clocks_trouble=lambda: self.staying.clocks_trouble,
        )

    @property
    def peer_id(self) -> str:
        return self.identity.peer_id

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the roles until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.bookkeeping.run)
            await nursery.start(self.directory.run)
            await nursery.start(self.charters.run)
            await nursery.start(self.community.run)
            if self.worker is not None and self.overseer is not None:
                await nursery.start(self.overseer.run)
                await nursery.start(self.worker.run)
            if self.bridge is not None:
                nursery.start_soon(self.bridge.watch)
            if self.requester is not None:
                await nursery.start(self.requester.run)
            await nursery.start(self.staying.run)
            task_status.started()

    def follow_settings(self, settings: Settings) -> None:
        """The owner's from now on; what can't change in a running node (its roles, its address, its device) stays as it was."""
        self._given = following(self._given, settings)
        self._follow_charter()
        self.community.follow(self.settings)
        if self.requester is not None:
            self.requester.follow(RequesterPolicy.of(self.settings))

    def _follow_charter(self) -> None:
        """A new version is in force: what the owner left open follows it, for whatever is asked from now on."""
        self.settings = with_charter(self._given, self.charters.current)
        if self.worker is not None and self.overseer is not None:
            self.overseer.follow(self.settings, self.charters.current)
            self.worker.policy = worker_policy(self.settings, self.charters.current)
        self.bookkeeping.interest.stranger_entries = self.charters.current.limits.stranger_entries
        self.directory.changed()

    def request_stop(self) -> None:
        self._stop.set()

    async def wait_stop(self) -> None:
        await self._stop.wait()

    # -- what it says of itself

    def _own_advert(self) -> Advert:
        """The one that went out last: what it says there is what offers are held against."""
        now = self.now_ms()
        return self.directory.own.message if self.directory.own else self._describe(now, now + 1)

    def _describe(self, now_ms: int, expires_ms: int) -> Advert:
        worker, settings, head = self.settings.worker, self.settings, self.ledger.head()
        device = self.engine.device() if self.engine and self.works else None
        self._advert_seq = max(self._advert_seq + 1, now_ms)
        advert = Advert(
            net=self.ledger.net,
            seq=self._advert_seq,
            expires_ms=expires_ms,
            alias=settings.node.alias,
            agent=f"meshgen/{__version__}",
            roles=tuple(role for role in settings.node.roles if role != "worker" or self.works),
            addresses=tuple(address for address in self.net.addresses() if len(address) <= MAX_ADDRESS_BYTES)[:MAX_ADDRESSES],
            device_kind=device.kind if device else "",
            device_name=plain(device.name)[:64] if device else "",
            vram_total_mib=device.vram_total_mib if device else 0,
            vram_free_mib=min(device.vram_free_mib, device.vram_total_mib) if device else 0,
            models=(),
            max_pixels=worker.max_pixels if device else 0,
            max_steps=worker.max_steps if device else 0,
            max_count=worker.max_count if device else 0,
            policies=self.overseer.policies() if self.overseer else (),
            price_permille=worker.price_permille,
            slots=worker.slots if device else 0,
            queued=self.worker.queued if self.worker else 0,
            head_seq=head.seq,
            head_id=head.id,
        )
        return filled(advert, self._model_adverts(), self._adapter_adverts())

    @property
    def works(self) -> bool:
        """A bridge alone is no worker before somebody asks it for jobs."""
        return self.worker is not None and (self.engine is not self.bridge or bool(self.engine and self.engine.models()))

    def _model_adverts(self) -> tuple[ModelAdvert, ...]:
        return model_adverts(self.overseer.models(), self.engine) if self.overseer and self.engine else ()

    def _adapter_adverts(self) -> tuple[AdapterAdvert, ...]:
        return adapter_adverts(self.overseer.adapters()) if self.overseer else ()

    # -- what the gateway shows

    def status(self) -> dict[str, Any]:
        """For its owner's eyes."""
        return status_of(self)

    async def selftest(self) -> dict[str, Any]:
        """For `meshgen doctor`: its place in the mesh."""
        return await selftest(self, self.now_ms())

    def figures(self) -> Iterable[Metric]:
        """For a monitor."""
        return figures(self)

    def peers(self) -> list[dict[str, Any]]:
        """Others that are known: adverts, and links to peers that have not advertised."""
        rows = peer_rows(self.directory.everybody(), self.net.links(), self.staying.pulse.rtt_ms)
        return with_company(rows, self.gate, self.bookkeeping.advice)

    def models(self) -> dict[str, Any]:
        adverts = [signed.message for signed in self.directory.adverts()]
        if self.directory.own is not None and self.worker is not None:
            adverts.append(self.directory.own.message)
        found, adapters = mesh_models(adverts), mesh_adapters(adverts)
        try:
            local = [local_model(model) for model in self.catalog.models()] if self.catalog else []
        except CatalogError as error:
            return {"mesh": found, "adapters": adapters, "local": [], "fault": str(error)}
        return {"mesh": found, "adapters": adapters, "local": local}

    def add_model(self, name: str, path: Path) -> dict[str, Any]:
        """Raises ValueError with a text for people."""
        if self.catalog is None:
            raise ValueError("this node keeps no models")
        try:
            return local_model(self.catalog.add(name, path))
        except CatalogError as error:
            raise ValueError(str(error)) from None

    def remove_model(self, name: str) -> None:
        """Raises KeyError."""
        if self.catalog is None:
            raise KeyError(name)
        try:
            self.catalog.remove(name)
        except CatalogError as error:
            raise KeyError(name) from error

    async def adopt_charter(self, text: str) -> dict[str, Any]:
        """Take the next version of the charter, as YAML. Raises ValueError with a text for people."""
        await self.charters.adopt(parse_charter(text))
        return mesh_status(self)

    def verify_credit(self) -> dict[str, Any]:
        if self.home is None:
            raise ValueError("this node keeps its log in memory")
        return report_as_dict(verify_home(self.home))


def _room(of_engine: Callable[[], Room], slots: int) -> Room:
    """The engine's; its owner may want more jobs at a time."""
    room = of_engine()
    return Room(max(room.working, slots), room.preparing)
