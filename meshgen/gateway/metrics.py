"""GET /metrics: figures for Prometheus, in its text format.

Of what prometheus-client has, its families and its writer are used, not its global registry: a node's figures belong to the node.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import trio
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric as Family
from starlette.responses import Response

from meshgen.gateway.face import NodeFace
from meshgen.metrics import Histogram, Metric, counter, gauge, histogram

PATH = "/metrics"
PREFIX = "meshgen_"
LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LOOK_S = 1.0
STATM, OPEN_FILES = Path("/proc/self/statm"), Path("/proc/self/fd")
"""Linux alone has them."""
_PAGE = os.sysconf("SC_PAGE_SIZE") if sys.platform != "win32" else 4096
_STARTED_S = time.time()


class Lag:
    """How late the event loop wakes a task that has slept: what every answer waits for."""

    def __init__(self) -> None:
        self.seconds = Histogram(LAG_S)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            due_s = trio.current_time() + LOOK_S
            await trio.sleep_until(due_s)
            self.seconds.observe(max(trio.current_time() - due_s, 0.0))


def metrics_routes(node: NodeFace, lag: Lag) -> APIRouter:
    routes = APIRouter(tags=["mesh"])

    @routes.get(PATH, response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
    async def metrics() -> Response:
        """Figures for Prometheus: on this machine for everybody, else for the owner's key, or as api.metrics says."""
        return Response(exposition(node.figures(), process(lag)), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes


def exposition(figures: Iterable[Metric], standard: Iterable[Metric] = ()) -> bytes:
    """``standard`` have their names from elsewhere, and no prefix."""
    return generate_latest(_Families([*_families(figures, PREFIX), *_families(standard, "")]))


class _Families(list[Family]):
    """A registry, as far as the writer looks."""

    def collect(self) -> Iterator[Family]:
        yield from self


def _families(metrics: Iterable[Metric], prefix: str) -> Iterator[Family]:
    for metric in metrics:
        name = prefix + metric.name
        family = Family(name, metric.about, metric.kind)
        for values, value in metric.samples.items():
            labels = dict(zip(metric.labels, values, strict=True))
            if isinstance(value, Histogram):
                for bound, count in value.buckets():
                    family.add_sample(f"{name}_bucket", labels | {"le": bound}, count)
                family.add_sample(f"{name}_count", labels, value.count)
                family.add_sample(f"{name}_sum", labels, value.sum)
            else:
                family.add_sample(f"{name}_total" if metric.kind == "counter" else name, labels, value)
        yield family


def process(lag: Lag) -> Iterator[Metric]:
    """This process, by the names that Prometheus gives them everywhere."""
    yield counter("process_cpu_seconds", "User and system time.", time.process_time())
    if STATM.exists():
        yield gauge("process_resident_memory_bytes", "Memory that is held now.", int(STATM.read_text().split()[1]) * _PAGE)
        yield gauge("process_open_fds", "Open files and sockets.", sum(1 for _ in OPEN_FILES.iterdir()) - 1)
    yield gauge("process_start_time_seconds", "Since 1970.", _STARTED_S)
    yield gauge("meshgen_tasks", "Tasks in the event loop.", trio.lowlevel.current_statistics().tasks_living)
    yield histogram("meshgen_loop_lag_seconds", "How late the event loop is.", lag.seconds)
