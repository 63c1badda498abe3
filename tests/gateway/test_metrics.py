"""GET /metrics: Prometheus' own parser reads it, and nobody else's machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from meshgen.gateway.metrics import Lag, exposition
from meshgen.metrics import Histogram, Metric, counter, gauge, histogram
from meshgen.peers.peer import Peer
from tests.gateway.test_guard import BEARER, EVIL, KEY, LAN, client
from tests.peers.virtual import pictures_of, virtual_mesh

LABELS = {"version", "roles", "direction", "path", "state", "protocol", "topic", "what", "question", "ended", "by", "le"}


def samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def values(text: str) -> dict[Any, float]:
    """By name, and by the values of the labels, in the order of the labels' names."""
    return {(one.name, *one.labels.values()): one.value for one in samples(text)}


def figures_of(peer: Peer) -> str:
    return exposition(peer.figures()).decode()


def test_kinds_and_odd_labels() -> None:
    times = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        times.observe(value)
    text = exposition([histogram("x_seconds", "X.", times), counter("n", "N.", {'a"\\\n': 3}, "what"), gauge("g", "G.", None)])
    found = values(text.decode())
    assert [found["meshgen_x_seconds_bucket", bound] for bound in ("1.0", "2.0", "+Inf")] == [2, 3, 4]
    assert (found["meshgen_x_seconds_count",], found["meshgen_x_seconds_sum",]) == (4, 12.0)
    assert found["meshgen_n_total", 'a"\\\n'] == 3
    assert exposition([Metric("m", "gauge", "", ("a", "b"), {("1", "2"): 3.0})], ()).endswith(b'meshgen_m{a="1",b="2"} 3.0\n')


async def test_a_page_of_figures(tmp_path: Path) -> None:
    async with client(tmp_path) as local:
        answer = await local.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = values(answer.text)
    assert found["meshgen_jobs_total", "done"] == 2 and found["meshgen_job_seconds_bucket", "10.0"] == 1
    assert found["process_cpu_seconds_total",] > 0 and found["meshgen_tasks",] > 0
    assert ("meshgen_loop_lag_seconds_count",) in found


async def test_who_may_read_them(tmp_path: Path) -> None:
    bearer = {"authorization": f"Bearer {KEY}"}
    lan = "http://192.168.1.4:4712"
    async with client(tmp_path) as local:
        assert (await local.get("/metrics")).status_code == 200
        assert (await local.get("/metrics", headers={"x-forwarded-for": "192.0.2.1"})).status_code == 401
        assert (await local.get("/metrics", headers={"origin": EVIL})).status_code == 403
        assert (await local.get("/metrics", headers={"sec-fetch-site": "cross-site"})).status_code == 401
        shared = (await local.post("/v1/keys", json={"name": "class"}, headers=BEARER)).json()["id"]
    async with client(tmp_path, LAN, lan, host="0.0.0.0") as other:
        assert (await other.get("/metrics")).status_code == 401
        assert (await other.get("/metrics", headers={"authorization": f"Bearer {shared}"})).status_code == 403
        assert (await other.get("/metrics", headers=bearer)).status_code == 200
        assert (await other.post("/metrics")).status_code == 401
    async with client(tmp_path, LAN, lan, host="0.0.0.0", metrics=True) as other:
        assert (await other.get("/metrics")).status_code == 200


async def test_a_job_moves_the_figures(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await mesh.worker("glittering-name"), await mesh.requester()
        await pictures_of(asker, count=3, prompt="a lighthouse")
        await trio.sleep(5)
        asked, worked = values(figures_of(asker)), values(figures_of(worker))
    assert asked["meshgen_jobs_total", "done"] == 1 and asked["meshgen_results_total",] == 3
    assert asked["meshgen_first_bid_seconds_count",] == asked["meshgen_offers_total",] >= 1
    assert asked["meshgen_dispatch_seconds_count",] >= 1 and asked["meshgen_generation_seconds_count", "mesh"] == 3
    assert asked["meshgen_channel_bytes_total", "in", "job"] == worked["meshgen_channel_bytes_total", "out", "job"] > 0
    assert asked["meshgen_gossip_messages_total", "presence", "accepted"] > 0
    assert asked["meshgen_links", "out", "direct"] + asked["meshgen_links", "in", "direct"] == 1
    assert asked["meshgen_table_questions_total", "done", "put_value"] >= 1
    assert (worked["meshgen_worker_jobs_total",], worked["meshgen_worker_results_total",]) == (1, 3)
    assert worked["meshgen_worker_engine_seconds_total",] == pytest.approx(3, abs=0.5)
    assert asked["meshgen_heartbeat_deaths_total",] == asked["meshgen_peers_kept_out",] == 0
    assert asked["meshgen_credit_balance_kudos",] == -worked["meshgen_credit_balance_kudos",] < 0


async def test_the_figures_name_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        worker, asker = await mesh.worker("glittering-name"), await mesh.requester()
        job = await pictures_of(asker, prompt="a lighthouse")
        for peer in (worker, asker):
            text = figures_of(peer)
            names = {name for one in samples(text) for name in one.labels}
            assert names <= LABELS, names - LABELS
            for word in (worker.peer_id, asker.peer_id, "glittering", "lighthouse", job.model, job.id, peer.ledger.net.hex()):
                assert word not in text


async def test_the_loops_lag_is_seen(autojump_clock: trio.testing.MockClock) -> None:
    lag = Lag()
    with trio.move_on_after(3.5):
        await lag.watch()
    assert (lag.seconds.count, lag.seconds.sum) == (3, 0.0)
