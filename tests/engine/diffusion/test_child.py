"""The real child through the real pool: torch in a process of its own, killed and replaced. A start takes seconds: few tests."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import psutil
import pytest
import trio
from PIL import Image

from meshgen.engine.models.catalog import Catalog
from meshgen.engine.pool.engine import open_engine
from meshgen.engine.port import Engine, EngineError, EngineEvent, Lora, Picture, Preview, Progress, Work
from meshgen.pictures import check_png
from tests.engine.folders import model_folder, tensor_file

pytestmark = pytest.mark.torch

SECRET = "xylophonic"
LONG_PROMPT = f"a {SECRET} circle " * 200
"""More than the text encoder takes: its libraries like to quote what they cut off."""


def work(**changes: object) -> Work:
    fields: dict[str, object] = {
        "model": "tiny", "prompt": LONG_PROMPT, "negative_prompt": SECRET, "width": 32, "height": 32, "steps": 4,
        "guidance_scale": 5.0, "scheduler": "k_euler", "seeds": (7, 8), "preview_every": 2,
    }  # fmt: skip
    return Work(**{**fields, **changes})  # type: ignore[arg-type]


async def events_of(engine: Engine, job: Work) -> list[EngineEvent]:
    async with engine.run(job) as events:
        return [event async for event in events]


async def pictures_of(engine: Engine, job: Work) -> list[bytes]:
    return [event.png for event in await events_of(engine, job) if isinstance(event, Picture)]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "meshgen.engine.diffusion.child" in child.cmdline()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with a tiny model that draws and one that can't be loaded."""
    for needed in ("torch", "diffusers", "transformers"):
        pytest.importorskip(needed)
    from tests.engine.tiny_pipelines import save_tiny_sd

    home = tmp_path_factory.mktemp("home")
    save_tiny_sd(home)
    catalog = Catalog(home)
    catalog.add("hollow", model_folder(home / "hollow"))
    catalog.add("tiny", home / "model")
    place = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    shapes = {f"{place}.lora_A.weight": (4, 7), f"{place}.lora_B.weight": (9, 4)}
    catalog.add("misfit", tensor_file(home / "misfit.safetensors", shapes))
    return home


async def test_a_child_draws_stops_dies_and_is_replaced(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(300):
        async with open_engine(Catalog(home), "cpu", grace_s=60) as engine:
            first = await it_draws(engine)
            await it_draws_jobs_together_as_alone(engine, first)
            await it_refuses(engine, Catalog(home).find("misfit").digest)
            await it_stops_and_lives(engine)
            await it_dies_and_another_comes(engine)
            assert await pictures_of(engine, work()) == first, "the same seeds, another child"
        assert not children()
    shown = capfd.readouterr()
    assert SECRET not in shown.err + shown.out
    assert not shown.err.strip(), "the libraries' own words stay out of the log"


async def it_draws(engine: Engine) -> list[bytes]:
    events = await events_of(engine, work())
    assert {(event.index, event.step) for event in events if isinstance(event, Progress)} >= {(0, 1), (1, 4)}
    assert {event.step for event in events if isinstance(event, Preview)} <= {2}
    pngs = [event.png for event in events if isinstance(event, Picture)]
    for png in pngs:
        check_png(png, 32, 32)
    assert len({*pngs}) == 2 and engine.device().kind == "cpu" and engine.device().vram_total_mib > 0
    assert engine.estimate_s("tiny", 32, 32, 4, 1) > 0
    return pngs


async def it_draws_jobs_together_as_alone(engine: Engine, alone: list[bytes]) -> None:
    """Three that wait while another is drawn: one batch, encoded beside it and finished beside the next."""
    found: dict[int, list[bytes]] = {}

    async def one(number: int, job: Work) -> None:
        found[number] = await pictures_of(engine, job)

    async with trio.open_nursery() as nursery:
        for number, seeds in enumerate(((7, 8), (7,), (8,), (8, 7))):
            nursery.start_soon(one, number, work(seeds=seeds))
        nursery.start_soon(one, 4, work(seeds=(7,), steps=5))
    assert [differs(*pair) for pair in zip(found[0] + found[1] + found[2], [*alone, *alone], strict=True)] == [False] * 4
    assert not differs(found[3][0], alone[1]) and differs(found[4][0], alone[0])


def differs(one: bytes, other: bytes) -> bool:
    """By more than the last bit: sums over larger batches are rounded elsewhere."""
    pairs = zip(*(Image.open(BytesIO(png)).convert("RGB").tobytes() for png in (one, other)), strict=True)
    return any(abs(mine - its) > 1 for mine, its in pairs)


async def it_refuses(engine: Engine, misfit: bytes) -> None:
    for job, reason in (
        (work(scheduler="k_nonsense"), "bad_input"),
        (work(width=31), "bad_input"),
        (work(steps=1000, scheduler="DDIMScheduler"), "bad_input"),  # its offset leads past the last step
        (work(model="hollow"), "bad_model"),
        (work(loras=(Lora("misfit", misfit),)), "bad_input"),
    ):
        with pytest.raises(EngineError) as caught:
            await events_of(engine, job)
        assert caught.value.reason == reason and SECRET not in str(caught.value)
    assert "hollow" not in {model.name for model in engine.models()}


async def it_stops_and_lives(engine: Engine) -> None:
    [before] = children()
    async with engine.run(work(steps=900)) as events:
        async for event in events:
            if isinstance(event, Progress) and event.step > 2:
                break
    await until(lambda: engine.free_slots() == 1)
    assert children() == [before]


async def it_dies_and_another_comes(engine: Engine) -> None:
    [before] = children()
    with pytest.raises(EngineError) as caught:
        async with engine.run(work(steps=900)) as events:
            async for _event in events:
                before.kill()
    assert caught.value.reason == "crashed"
    await until(lambda: children() not in ([], [before]))
