"""What stays in memory when room is short, without any: the policy alone; and with tiny pipelines, that it is obeyed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.engine.diffusion.memory import Budget, Fit, Move, Shelves, Tier, budget_of

RAM, DISK, DEVICE = Tier.RAM, Tier.DISK, Tier.DEVICE


def test_a_budget_leaves_memory_free_and_room_to_compute() -> None:
    assert budget_of("cuda", 24_000, 1000, 32_000) == Budget(18_400, 16_000)
    assert budget_of("cpu", 10_000, 1000, 10_000).ram_mib == 0
    assert budget_of("cuda", 1000, 5000, 1000).device_mib == 0
    assert budget_of("mps", 0, 0, 0).device_mib > 1000


@pytest.mark.parametrize(
    ("parts", "fit"), [([100, 600, 200], Fit.WHOLE), ([600, 600], Fit.PART_BY_PART), ([100, 1001], Fit.LAYER_BY_LAYER)]
)
def test_how_a_model_fits(parts: list[int], fit: Fit) -> None:
    assert Budget(1000, 0).fit(parts) is fit


def test_the_least_used_model_makes_room_first_in_memory_then_on_disk() -> None:
    shelves = Shelves(Budget(1000, 700))
    for name in ("a", "b"):
        assert shelves.take_in(name, 500) == []
    shelves.take_in("a", 500)
    assert shelves.take_in("c", 500) == [Move("b", RAM)]
    assert (shelves.tier("a"), shelves.tier("b"), shelves.tier("c")) == (DEVICE, RAM, DEVICE)
    assert shelves.take_in("d", 400) == [Move("b", DISK), Move("a", RAM)] and "b" not in shelves
    assert shelves.take_in("a", 500) == [Move("c", RAM)]


def test_what_memory_can_not_hold_goes_to_disk() -> None:
    shelves = Shelves(Budget(1000, 100))
    shelves.take_in("a", 500)
    assert shelves.take_in("b", 2000) == [Move("a", DISK)] and shelves.tier("b") is DEVICE


def test_all_but_the_last_used_can_be_sent_away() -> None:
    shelves = Shelves(Budget(1000, 1000))
    for name in ("a", "b", "c"):
        shelves.take_in(name, 100)
    assert shelves.keep_last(1) == [Move("a", RAM), Move("b", RAM)]
    assert shelves.keep_last(0) == [Move("c", RAM)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 900)), max_size=40), st.integers(0, 2000))
def test_tiers_never_hold_more_than_their_budget(wanted: list[tuple[int, int]], ram_mib: int) -> None:
    shelves, where = Shelves(Budget(1000, ram_mib)), dict[object, tuple[Tier, int]]()
    for name, mib in wanted:
        for move in shelves.take_in(name, mib):
            assert move.key != name and move.to < where[move.key][0]
            where[move.key] = (move.to, where[move.key][1])
        where[name] = (DEVICE, mib)
        assert sum(size for tier, size in where.values() if tier is DEVICE) <= 1000
        assert all(shelves.tier(key) is tier for key, (tier, _) in where.items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("torch", "diffusers", "transformers"):
        pytest.importorskip(needed)
    from tests.engine.tiny_pipelines import save_tiny_sd

    return save_tiny_sd(tmp_path_factory.mktemp("tiny"))


def frame(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    told = {"name": name, "path": str(folder), "variant": "", "allow_pickle": False, "format": "diffusers", "digest": name}
    return {**told, "parts": {}, **changes}


@pytest.mark.torch
def test_models_come_and_go_and_share_what_no_adapter_changes(folder: Path) -> None:
    from meshgen.engine.diffusion.devices import find_device
    from meshgen.engine.diffusion.pipelines import Pipelines

    pipelines = Pipelines(find_device("cpu", "auto"), budget=Budget(1000, 0))
    parts = {"vae": "same", "unet": "same"}
    one, two, other = (
        pipelines.get(frame(folder, name, parts=mine))
        for name, mine in (("one", parts), ("two", parts), ("other", {"vae": "its"}))
    )
    assert one.pipe.vae is two.pipe.vae is not other.pipe.vae
    assert one.pipe.unet is not two.pipe.unet and one.pipe.text_encoder is not two.pipe.text_encoder
    assert pipelines.get(frame(folder, "one", parts=parts)) is one
    pipelines.let_go(keep=1)
    assert pipelines.get(frame(folder, "one", parts=parts)) is one
    assert pipelines.get(frame(folder, "two", parts=parts)) is not two
    assert pipelines.get(frame(folder, "one", parts=parts, digest="changed")) is not one


@pytest.mark.torch
def test_a_model_waits_in_memory_and_comes_back_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from meshgen.engine.diffusion import pipelines as module
    from meshgen.engine.diffusion.devices import find_device
    from meshgen.engine.diffusion.pipelines import Pipelines

    moved: list[str] = []
    monkeypatch.setattr(module, "to_machine", lambda part: moved.append(type(part).__name__))
    monkeypatch.setattr(module, "size_mib", lambda part: 300)
    pipelines = Pipelines(find_device("cpu", "auto"), budget=Budget(1000, 1000))
    first = pipelines.get(frame(folder, "one"))
    weights = [weight.clone() for weight in first.pipe.unet.parameters()]
    pipelines.get(frame(folder, "two"))
    assert sorted(moved) == ["AutoencoderKL", "CLIPTextModel", "UNet2DConditionModel"]
    assert pipelines.get(frame(folder, "one")) is first
    assert all(torch.equal(*pair) for pair in zip(weights, first.pipe.unet.parameters(), strict=True))


@pytest.mark.torch
def test_measures_against_running_out_of_memory_come_one_after_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meshgen.engine.diffusion import pipelines as module
    from meshgen.engine.diffusion.devices import find_device
    from meshgen.engine.diffusion.pipelines import Pipelines

    fits: list[Fit] = []
    monkeypatch.setattr(module, "offload", lambda pipe, fit, place: fits.append(fit))
    loaded = Pipelines(find_device("cpu", "auto"), budget=Budget(1000, 0)).get(frame(folder, "one"))
    assert loaded.relieve() and loaded.pipe.vae.use_tiling and loaded.pipe.vae.use_slicing
    assert not loaded.relieve() and fits == []
    loaded.device = replace(loaded.device, kind="cuda")
    assert loaded.relieve() and loaded.relieve() and not loaded.relieve()
    assert fits == [Fit.PART_BY_PART, Fit.LAYER_BY_LAYER]


@pytest.mark.torch
def test_a_guest_makes_room_when_pictures_need_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meshgen.engine.diffusion import pipelines as module
    from meshgen.engine.diffusion.devices import find_device
    from meshgen.engine.diffusion.pipelines import Pipelines

    monkeypatch.setattr(module, "size_mib", lambda part: 300)
    pipelines, gone = Pipelines(find_device("cpu", "auto"), budget=Budget(1000, 0)), []
    pipelines.make_room_for("writer", 500, lambda: gone.append(1))
    pipelines.get(frame(folder, "one"))
    assert gone == [1]
