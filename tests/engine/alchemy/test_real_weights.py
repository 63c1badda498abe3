"""The weights that packages carry, run for real: the classifier tells two pictures apart, the upscalers beat interpolation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from io import BytesIO

import pytest
import trio
from PIL import Image

from meshgen.engine.alchemy.alchemist import Alchemist, open_alchemist
from meshgen.engine.alchemy.forms import find_forms
from meshgen.engine.port import EngineError
from tests.engine.alchemy.drawn import landscape, mug, png, psnr, skin_toned_shapes

FOUND, MISSING = find_forms(None)


def needs(*names: str) -> None:
    for name in names:
        if name in MISSING:
            pytest.skip(f"{name}: {MISSING[name]}")


@asynccontextmanager
async def opened(memory_mib: int = 4096) -> AsyncGenerator[Alchemist]:
    with trio.fail_after(240):
        async with open_alchemist(threads=2, memory_mib=memory_mib) as made:
            yield made


async def enlarged(made: Alchemist, name: str, picture: Image.Image) -> Image.Image:
    data, media = await made.run(name, png(picture))
    assert media == "image/png"
    return Image.open(BytesIO(data))


async def test_the_classifier_tells_a_landscape_from_shapes_like_skin() -> None:
    needs("nsfw")
    async with opened() as made:
        clean = json.loads((await made.run("nsfw", png(landscape(256))))[0])
        doubtful = json.loads((await made.run("nsfw", png(skin_toned_shapes())))[0])
    assert set(clean) == set(doubtful) == {"nsfw", "score"} and (clean["nsfw"], doubtful["nsfw"]) == (False, True)
    assert clean["score"] == pytest.approx(0.000151, abs=5e-5) and doubtful["score"] == pytest.approx(0.730, abs=0.03)


@pytest.mark.parametrize(("name", "gain"), [("RealESRGAN_x4plus", 2.0), ("RealESRGAN_x4plus_anime_6B", 0.8)])
async def test_the_upscalers_beat_interpolation(name: str, gain: float) -> None:
    """Measured, in dB: bicubic 24.43, Lanczos 24.53, x4plus 26.69, anime 25.54."""
    needs(name)
    whole = landscape(256)
    small = whole.resize((64, 64), Image.Resampling.BOX)
    async with opened() as made:
        result = await enlarged(made, name, small)
        assert 0 < made.estimate_s(name, 64 * 64) < 120
    plain = max(psnr(small.resize(whole.size, how), whole) for how in (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS))
    assert result.size == (256, 256) and result.mode == "RGB" and psnr(result, whole) > plain + gain


async def test_too_little_memory_is_said_and_the_next_picture_is_done() -> None:
    needs("RealESRGAN_x4plus_anime_6B")
    if sys.platform != "linux":
        pytest.skip("only Linux sees to it")
    async with opened(memory_mib=450) as made:
        with pytest.raises(EngineError) as caught:
            await made.run("RealESRGAN_x4plus_anime_6B", png(landscape(148)))
        assert caught.value.reason == "out_of_memory"
        assert (await enlarged(made, "RealESRGAN_x4plus_anime_6B", landscape(16))).size == (64, 64)


async def test_post_processors_follow_one_another() -> None:
    needs("RealESRGAN_x4plus_anime_6B", "strip_background")
    async with opened() as made:
        large, _ = await made.run("RealESRGAN_x4plus_anime_6B", png(mug(48)[0]))
        data, media = await made.run("strip_background", large)
    cut = Image.open(BytesIO(data))
    assert (cut.size, cut.mode, media) == ((192, 192), "RGBA", "image/png")
    assert cut.getpixel((0, 0))[3] == 0 and cut.getpixel((80, 100))[3] == 255  # type: ignore[index]


async def test_bad_input_is_named_by_the_real_child() -> None:
    needs("nsfw")
    async with opened() as made:
        for data in (b"no picture", png(landscape(32))[:-40]):
            with pytest.raises(EngineError) as caught:
                await made.run("nsfw", data)
            assert caught.value.reason == "bad_input"


def test_light_forms_never_import_torch() -> None:
    needs("nsfw")
    script = """
import sys
from meshgen.engine.alchemy.forms import find_forms
from meshgen.engine.alchemy.workbench import Workbench
from tests.engine.alchemy.drawn import landscape, png
form = find_forms(None)[0]["nsfw"]
request = {"name": form.name, "kind": form.kind, "files": form.files, "enlarge": 1, "picture": png(landscape(32))}
media = Workbench(1, "cpu").work(request, lambda: None)[1]
print(media, [name for name in ("torch", "transformers", "cv2") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["application/json", "[]\n"]
