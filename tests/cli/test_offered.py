"""A name under the wrong verb is refused with the right one; a misspelt one is guessed, before anybody is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from meshgen.cli.nearest import meant, nearest
from tests.cli.conftest import Running
from tests.cli.test_generate import all_drawn
from tests.gateway.fake_node import PNG

Cli = Callable[..., Result]
ROWS = [
    {"name": name, "family": family, "digests": ["ab" * 32], "workers": 1, "queued": 0, "default_side": side}
    for name, family, side in (("Dreamshaper", "sd1", 512), ("Smol", "text", 8), ("nsfw", "alchemy", 512), ("4x", "alchemy", 512))
]
ADAPTERS = [{"name": "pencil", "kind": "lora", "family": "sd1", "digest": "cd" * 32, "workers": 1}]


@pytest.fixture(autouse=True)
def offers(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.node, "models", lambda: {"mesh": ROWS, "adapters": ADAPTERS, "local": []})
    running.node.requester.on_submit = all_drawn
    (tmp_path / "in.png").write_bytes(PNG)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("generate x --model Smol", "Smol writes text\nask with: meshgen write --model"),
        ("generate x --model nsfw", "nsfw is a form of alchemy\nask with: meshgen alchemy nsfw PICTURE"),
        ("write x --model Dreamshaper", "Dreamshaper draws pictures\nask with: meshgen generate --model"),
        ("write x --model nsfw", "meshgen alchemy nsfw PICTURE"),
        ("alchemy Smol in.png", "meshgen write --model"),
        ("alchemy NSWF in.png", "there is no form 'NSWF'\ndid you mean 'nsfw'? offered are nsfw, 4x"),
        ("alchemy blurred in.png", "there is no form 'blurred'\noffered are nsfw, 4x"),
    ],
)
def test_what_belongs_to_another_verb_is_refused(meshgen: Cli, running: Running, words: str, why: str) -> None:
    assert why in meshgen(*words.split(), code=1).stderr
    assert not running.node.requester.requests


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("generate x --model dreamshapper", "nobody known now has the model 'dreamshapper'; did you mean 'Dreamshaper'?"),
        ("generate x --lora pencl", "nobody known now has the LoRA 'pencl'; did you mean 'pencil'?"),
        ("generate x --hires-fix", "--hires-fix does nothing at the model's own size"),
        ("generate x --hires-fix --size 512x544 --model Dreamshaper", "such as 1024x1024"),
        ("alchemy caption in.png", "the folder alchemy/ of a worker's home; offered are nsfw, 4x"),
    ],
)
def test_what_may_be_meant_otherwise_is_said_and_asked_for(meshgen: Cli, running: Running, words: str, note: str) -> None:
    assert note in meshgen(*words.split(), "--json").stderr
    assert len(running.node.requester.requests) == 1


@pytest.mark.parametrize(
    "words",
    [
        "generate x --model Dreamshaper --hires-fix --size 1024x1024",
        "generate x --model something-else",
        "generate x --hires-fix --size 576x576",
        "generate x --lora pencil --lora cdcdcdcd --lora unheard-of",
    ],
)
def test_what_fits_or_can_not_be_guessed_is_asked_for(meshgen: Cli, running: Running, words: str) -> None:
    said = meshgen(*words.split()).stderr
    assert "did you mean" not in said and "does nothing" not in said
    assert len(running.node.requester.requests) == 1


def test_a_mesh_that_offers_nothing_yet_refuses_nothing(meshgen: Cli, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.node, "models", lambda: {"mesh": [], "adapters": [], "local": []})
    assert "no form is offered by anybody known now" in meshgen("alchemy", "caption", "in.png", "--json").stderr
    meshgen("alchemy", "brand_new", "in.png", "--json")
    assert len(running.node.requester.requests) == 2


def test_the_nearest_name() -> None:
    assert nearest("REALESRGAN_X4PLUS", ["RealESRGAN_x4plus", "RealESRGAN_x4plus_anime_6B"]) == "RealESRGAN_x4plus"
    assert nearest("zzz", ["abc"]) == nearest("", []) == meant("zzz", ["abc"]) == ""
