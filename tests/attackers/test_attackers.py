"""Attacks in short, against one honest mesh: every honest job becomes a picture, no victim grows or falls, attackers are cut off.

``python -m tests.attackers`` says how much slower the others' jobs were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.attackers.__main__ import attacking
from tests.attackers.attacker import names_of
from tests.attackers.town import Town, honest_town

pytestmark = pytest.mark.e2e

ATTACK_S = 1.5
GROWTH_MIB = 48
TOGETHER = {
    "at the door": ("idle connections", "idle peers", "handshake flood", "announced gigabytes"),
    "on connections": ("garbage frames", "ping flood", "stream flood", "unread window", "table silence"),
    "by gossip": (
        "offers of one key",
        "offers of 100 keys",
        "unsigned gossip",
        "oversized gossip",
        "log spam",
        "forged adverts",
        "eclipse",
    ),
    "by dealing": (
        "slow sender",
        "slow reader",
        "table poisoning",
        "table crowd",
        "bid spam",
        "endless worker",
        "stalling worker",
        "decompression bombs",
        "award and vanish",
    ),
}
CUT_OFF = {"idle connections", "announced gigabytes", "garbage frames", "unsigned gossip", "oversized gossip"}
"""Those that are let go so soon that a short test can wait for it."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with honest_town(tmp_path_factory.mktemp("town")) as town:
        town.draw_for(0)
        yield town


@pytest.mark.parametrize("names", TOGETHER.values(), ids=TOGETHER)
def test_honest_jobs_go_on(town: Town, names: tuple[str, ...]) -> None:
    victims = {names_of()[name] for name in names}
    before = {victim: town.load(victim).rss_mib for victim in victims}
    with attacking(town, names, ATTACK_S, plenty=300, until=CUT_OFF & set(names)) as attacker:
        felt = town.draw_for(ATTACK_S)
        seen = json.loads(attacker.communicate(timeout=90)[0])
    assert felt.seconds
    assert not felt.lost
    for victim in victims:
        assert town.load(victim).rss_mib - before[victim] < GROWTH_MIB
        assert town.node(victim).process.poll() is None
        assert "stumbled" not in town.node(victim).log
    assert not [name for name in names if seen[name]["awards"] and not seen[name]["played"]], "attacks that were none"
    assert {name for name in names if seen[name]["cut_off_s"] is not None} >= CUT_OFF & set(names)


def test_the_mesh_is_whole_afterwards(town: Town) -> None:
    felt = town.draw_for(1)
    assert felt.seconds
    assert not felt.lost
