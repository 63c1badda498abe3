"""A peer in figures, for a monitor: put together when it is asked for, out of what each part has counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from meshgen.engine.several import Several
from meshgen.metrics import Metric, counter, gauge, histogram
from meshgen.peers.tally import Asked, Tally

if TYPE_CHECKING:
    from meshgen.ledger.ledger import Ledger
    from meshgen.net.conduct import Conduct
    from meshgen.net.metered import Traffic
    from meshgen.net.port import Net
    from meshgen.peers.peer import Peer

REACH = ("unknown", "public", "private")
ENDS = ("done", "failed", "cancelled")


def figures(peer: Peer) -> Iterator[Metric]:
    """Of everything that runs in it."""
    status = peer.status()
    yield from _node(status)
    yield counter("heartbeat_deaths", "Peers hung up on as they no longer answered.", peer.staying.pulse.deaths)
    yield from _links(peer.net)
    yield from _reach(peer.net)
    yield from _channels(peer.traffic)
    yield from _gossip(peer.traffic)
    if peer.requester is not None:
        yield from _requester(peer.requester.tally, peer.requester.jobs.values())
    if peer.worker is not None and peer.engine is not None:
        yield from _worker(peer.worker.tally, peer.worker.queued)
        yield from _engine(peer.engine, status.get("worker"))
    yield from _credit(peer.ledger, peer.identity.public_key)


def _node(status: dict[str, Any]) -> Iterator[Metric]:
    about = {"version": str(status["version"]), "roles": " ".join(status["roles"])}
    yield gauge("info", "What runs here; always 1.", {tuple(about.values()): 1}, *about)
    yield gauge("uptime_seconds", "Since the node was started.", status["uptime_s"])
    yield gauge("peers_known", "Peers whose adverts have not expired.", status["peers_known"])
    yield gauge("trouble", "1 if the own credit log is in trouble, see `meshgen status`.", int(bool(status["trouble"])))
    clock = status.get("clock") or {}
    if (skew := clock.get("skew_ms")) is not None:
        yield gauge("clock_skew_seconds", "How far this clock runs ahead of the median of the peers'.", skew / 1000)


def _links(net: Net) -> Iterator[Metric]:
    found = Counter({(way, how): 0 for way in ("in", "out") for how in ("direct", "relayed")})
    found.update(("out" if link.outbound else "in", "relayed" if link.relayed else "direct") for link in net.links())
    yield gauge("links", "Peers that it is connected to.", found, "direction", "path")
    conduct: Conduct | None = getattr(net, "conduct", None)  # both nets have it, the seam does not ask for it
    shut = conduct.kept_out() if conduct else None
    yield gauge("peers_kept_out", "Peers that may not connect now, for what they did or as the owner says.", shut)


def _reach(net: Net) -> Iterator[Metric]:
    reach = net.reach()
    states = {state: int(state == reach.state) for state in REACH}
    yield gauge("reach", "1 for whether others can dial this node.", states, "state")
    yield gauge("relays", "Relays that hold a reservation for this node.", len(reach.relays))
    yield counter("relayed_bytes", "The node's own, carried by relays.", net.relayed())
    yield counter("carried_bytes", "Others', carried by this node as a relay.", net.carried())


def _channels(traffic: Traffic) -> Iterator[Metric]:
    both = ("protocol", "direction")
    yield counter("channels", "Channels opened.", traffic.channels, *both)
    yield counter("channels_failed", "Channels that could not be opened.", traffic.unreachable, "protocol")
    messages = {way: flow.messages for way, flow in traffic.flows.items()}
    yield counter("channel_messages", "Messages on channels.", messages, *both)
    sizes = {way: flow.bytes for way, flow in traffic.flows.items()}
    yield counter("channel_bytes", "Bytes of messages on channels; of protocol credit: log sync.", sizes, *both)
    yield counter("table_questions", "Questions to the DHT.", traffic.table, "question", "ended")
    yield histogram("table_seconds", "What the DHT took for an answer.", traffic.table_s, "question")


def _gossip(traffic: Traffic) -> Iterator[Metric]:
    yield counter("gossip_messages", "Gossip heard and published.", traffic.gossip, "topic", "what")
    yield counter("gossip_bytes", "Bytes of gossip heard and published.", traffic.gossip_bytes, "topic", "direction")
    yield counter("gossip_dropped", "Gossip that came faster than it was read.", traffic.dropped(), "topic")


def _requester(tally: Asked, jobs: Iterable[Any]) -> Iterator[Metric]:
    yield counter("jobs", "Own jobs that ended.", {end: tally.ended[end] for end in ENDS}, "state")
    yield gauge("jobs_open", "Own jobs under way.", sum(not job.final for job in jobs))
    yield counter("results", "Pictures, texts and forms that arrived.", tally.results)
    yield counter("offers", "Own offers.", tally.offers)
    yield counter("offers_unanswered", "Own offers on which nobody bid.", tally.unanswered)
    yield histogram("first_bid_seconds", "From an own offer to the first bid.", tally.first_bid)
    yield histogram("dispatch_seconds", "From an award to the worker's first word.", tally.dispatch)
    yield histogram("generation_seconds", "Compute of a result, by the worker's word.", tally.generation, "by")
    yield histogram("job_seconds", "From a request to its end.", tally.job)


def _worker(tally: Tally, queued: int) -> Iterator[Metric]:
    yield counter("worker_bids", "Bids on others' offers.", tally.bids)
    yield counter("worker_refusals", "Offers and awards refused.", tally.refusals)
    yield counter("worker_jobs", "Jobs for others: bids that won.", tally.jobs)
    yield counter("worker_results", "Results delivered to others.", tally.pictures)
    yield counter("worker_failed", "Jobs that the engine failed at.", tally.failed)
    yield counter("worker_unpaid", "Jobs that were not paid in full.", tally.unpaid)
    yield counter("worker_engine_seconds", "Compute for others.", tally.engine_s)
    yield gauge("worker_queued", "Pictures accepted and not yet delivered.", queued)


def _engine(engine: Any, worker: dict[str, Any] | None) -> Iterator[Metric]:
    device = engine.device()
    free = min(device.vram_free_mib, device.vram_total_mib) * 2**20
    yield gauge("device_memory_bytes", "Of the device that computes.", device.vram_total_mib * 2**20)
    yield gauge("device_memory_free_bytes", "Of that, free.", free)
    yield gauge("worker_models", "Models that are served.", len(worker["models"]) if worker else 0)
    yield gauge("worker_takes_work", "1 if it does.", int(bool(worker and worker.get("takes_work"))))
    yield gauge("estimate_error_ratio", "By how much estimates were off lately: the median.", engine.estimate_error())
    engines = engine.engines.values() if isinstance(engine, Several) else (engine,)
    yield counter("model_loads", "Models read into the engine.", sum(getattr(each, "loads", 0) for each in engines))


def _credit(ledger: Ledger, key: bytes) -> Iterator[Metric]:
    balance = ledger.balance(key)
    yield gauge("credit_balance_kudos", "Earned less spent.", balance.net / 1000)
    yield gauge("credit_held_kudos", "Set aside in open holds.", balance.held / 1000)
    yield gauge("log_entries", "Entries of the own credit log.", ledger.head().seq)
    heads = ledger.heads()
    yield gauge("logs_known", "Credit logs that are kept.", len(heads))
    yield gauge("logs_known_entries", "Entries of them all.", sum(head.seq for _, head in heads))
    yield gauge("log_forks", "Authors caught with two stories.", len(ledger.forks()))
