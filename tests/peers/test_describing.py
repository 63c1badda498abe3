"""An advert is never larger than one may be, whatever the owner has and however it is called."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from meshgen.engine.fake import FakeEngine, fake_model
from meshgen.engine.port import AdapterInfo
from meshgen.peers.describing import adapter_adverts, filled, model_adverts
from meshgen.protocols.advert import Advert
from meshgen.protocols.offer import Need
from meshgen.testing import virtual_mesh
from tests.conformance.samples import SAMPLES
from tests.peers.outsiders import outsider

FEATURES = tuple(f"a-feature-of-the-model-{number:02}"[:24] for number in range(16))
ENGINE = FakeEngine()
BARE: Advert = replace(SAMPLES[Advert], models=(), adapters=())  # type: ignore[type-var, assignment]


def models(number: int) -> list[object]:
    return [replace(fake_model(f"{at:02}".ljust(64, "x")), features=FEATURES) for at in range(number)]


def adapters(number: int, kind: str = "lora") -> list[AdapterInfo]:
    return [AdapterInfo(kind, f"{at:03}".ljust(64, "y"), bytes([at % 256]) * 32, "sdxl") for at in range(number)]


@pytest.mark.parametrize(("many_models", "many_adapters"), [(0, 0), (1, 500), (70, 0), (70, 70), (8, 64), (64, 3)])
def test_what_is_too_much_is_left_out(many_models: int, many_adapters: int) -> None:
    told = filled(BARE, model_adverts(models(many_models), ENGINE), adapter_adverts(adapters(many_adapters)))  # type: ignore[arg-type]
    assert Advert.decode(told.encode()) == told
    assert bool(told.models) == bool(many_models) and bool(told.adapters) == bool(many_adapters)
    if many_models + many_adapters > 64:  # no room is wasted
        assert len(told.encode()) > 12_000 or len(told.adapters) == 64


def test_upscalers_are_told_before_loras() -> None:
    told = filled(BARE, (), adapter_adverts([*adapters(100), *adapters(2, "post")]))
    assert [one.kind for one in told.adapters[:3]] == ["post", "post", "lora"] and len(told.adapters) == 64


def test_what_is_left_out_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        filled(BARE, (), adapter_adverts(adapters(77)))
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["the mesh is told of 64 of 77 adapters"]


async def test_what_most_ask_for_is_told_first_and_then_the_newest(autojump_clock: object) -> None:
    async with virtual_mesh() as mesh:
        owner = await mesh.add("owner", "worker", FakeEngine(adapters=adapters(100)))
        async with outsider(mesh) as one, outsider(mesh, "another") as two:
            for who, wanted in ((one, 3), (two, 3), (one, 5), (one, 5)):
                await who.ask(owner, who.offer(needs=(Need("lora", bytes([wanted]) * 32),)))
        await trio.sleep(120)  # until it advertises again
        told = [one.digest[0] for one in owner._own_advert().adapters]
        assert told == [3, 5, *range(99, 37, -1)]


def test_what_can_not_be_told_is_left_out_alone() -> None:
    odd = [replace(fake_model("odd"), context=10**30), replace(fake_model("x"), name="x" * 65), fake_model("good")]
    assert [model.name for model in model_adverts(odd, ENGINE)] == ["good"]
    assert adapter_adverts([AdapterInfo("lora", "", bytes(32)), *adapters(1)]) == adapter_adverts(adapters(1))


async def test_an_owner_of_very_many_is_heard_and_uses_all_of_them(autojump_clock: object) -> None:
    async with virtual_mesh() as mesh:
        engine = FakeEngine(models(70), adapters=adapters(200))  # type: ignore[arg-type]
        owner = await mesh.add("owner", "requester worker", engine)
        asker = await mesh.requester("asker")
        heard = asker.directory.get(owner.net.peer_id)
        assert heard is not None and heard.models and heard.adapters
        assert owner.requester is not None
        own = owner.requester._means.own
        assert own is not None and (len(own.models()), len(own.adapters())) == (70, 200)
