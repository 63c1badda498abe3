"""The whole of it: a town, its people, the weather, and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from meshgen.cli.local_mesh import wait_for
from tests.chaos.clients import PATIENCE_S, Client, Tally
from tests.chaos.faults import Weather
from tests.chaos.report import entries, faults_of_logs, growth, table, usage
from tests.chaos.town import PLANS, Plan, Town, town

CLIENTS = 4
KNOW_S = 60.0
AGREE_S = 180.0
SETTLE_S = 20.0


@dataclass(frozen=True)
class Story:
    table: str
    wrong: tuple[str, ...]
    tallies: tuple[Tally, ...]


def chaos(
    root: Path,
    seed: int,
    seconds: float,
    plans: dict[str, Plan] | None = None,
    gap_s: tuple[float, float] = (3.0, 9.0),
    tell: Callable[[str], None] = lambda _: None,
) -> Story:
    """Raises NoNamespacesError where the town can't be built."""
    with town(root, plans or PLANS) as place:
        _await_workers(place)
        clients = [Client(place, place.askers[number % len(place.askers)], number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(min(SETTLE_S, seconds / 10))
        before = usage(place)
        weather = Weather(place, seed, gap_s)
        began = time.monotonic()
        for line in weather.blow(seconds):
            tell(f"{time.monotonic() - began:6.0f} s  {line}")
        place.rest()
        for client in clients:
            client.stop()
        for client in clients:
            client.join(PATIENCE_S + 30)
        agreed = place.agree(AGREE_S)
        after = usage(place)
        place.close()
        wrong = [lost for client in clients for lost in client.tally.lost]
        wrong += [f"{client.name} hangs" for client in clients if client.is_alive()]
        wrong += [] if agreed else [f"the hubs' logs differ {AGREE_S:.0f} s after the last fault"]
        wrong += [*faults_of_logs(place), *growth(before, after)]
        tallies = tuple(client.tally for client in clients)
        shown = table(weather.struck, tallies, before, after, place.ended)
        return Story(f"{shown}\n\n{entries(place)} entries at the one who holds most", tuple(wrong), tallies)


def _await_workers(place: Town) -> None:
    workers = {name for name, plan in place.plans.items() if "worker" in plan.roles}
    for name in place.askers:
        api = place[name].api
        wait_for(
            lambda api=api, name=name: (  # type: ignore[misc]
                workers - {name} <= {peer["alias"] for peer in api.get("/v1/peers")["peers"] if peer["models"]}
            ),
            f"{name} to know the workers",
            KNOW_S,
        )
