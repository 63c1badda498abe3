"""All checks, in the order in which they are made and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from meshgen.cli.checks.clock import clock
from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.gpu import device
from meshgen.cli.checks.home import api_keys, config, home, key, owner
from meshgen.cli.checks.log import credit_log, standing
from meshgen.cli.checks.machine import disk, python
from meshgen.cli.checks.mesh import charter, membership
from meshgen.cli.checks.models import models
from meshgen.cli.checks.patient import Patient
from meshgen.cli.checks.peers import dht, gossip, hubs, peers
from meshgen.cli.checks.reach import reach
from meshgen.cli.checks.running import node, ports, service
from meshgen.cli.checks.work import engine, working

CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    python,
    home,
    owner,
    disk,
    key,
    api_keys,
    config,
    charter,
    credit_log,
    clock,
    node,
    service,
    ports,
    standing,
    membership,
    engine,
    device,
    models,
    working,
    hubs,
    peers,
    reach,
    gossip,
    dht,
)

AT_FIRST: tuple[Callable[[Patient], Iterator[Finding]], ...] = (python, home, disk, clock)
"""Where there is no home yet, all others would say the same."""
