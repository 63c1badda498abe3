"""Names, payloads and prices in AI Horde's words."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from meshgen.engine.alchemy.forms import UPSCALERS
from meshgen.engine.bridge.names import POST_PROCESSORS, default_size, digest_of, family_of, millions_of
from meshgen.engine.bridge.payload import has_holes, payload_of
from meshgen.engine.bridge.popper import Popper
from meshgen.engine.port import Control, EngineError, FormWork, Inversion, Lora, TextWork, Work
from meshgen.engine.schedulers import horde_sampler
from meshgen.peers.admission import WorkerPolicy
from meshgen.peers.tariff import ImageWork, alchemy_mkudos, image_mkudos, text_mkudos
from meshgen.peers.worth import worth

WORK = Work("Deliberate", "a cat", "", 512, 768, 20, 7.5, "k_euler", (1,))


def test_a_digest_is_the_one_that_is_written_down() -> None:
    assert digest_of("stable_diffusion").hex() == "d8f38a33b3b6e9b46c84fb0b4669cdbc0f15ec9d0f6117b7bd4a7a2184ed526c"


@pytest.mark.parametrize(
    ("name", "family", "size"),
    [
        ("stable_diffusion", "sd1", 512),
        ("stable_diffusion_inpainting", "sd1", 512),
        ("stable_diffusion_2.1", "other", 512),
        ("Deliberate", "sd1", 512),
        ("AlbedoBase XL (SDXL)", "sdxl", 1024),
        ("Juggernaut XL", "sdxl", 1024),
        ("Pony Diffusion XL", "sdxl", 1024),
        ("Flux.1-Schnell fp8 (Compact)", "flux", 1024),
        ("Stable Cascade 1.0", "other", 1024),
        ("Qwen-Image_fp8", "other", 1024),
        ("Pixlart", "other", 512),
    ],
)
def test_families_are_guessed_by_name(name: str, family: str, size: int) -> None:
    assert (family_of(name), default_size(name)) == (family, size)


def test_a_text_model_s_size_stands_in_its_name() -> None:
    names = {
        "koboldcpp/tiny-1b": 1000,
        "aphrodite/Llama-3.1-8B-Instruct": 8000,
        "koboldcpp/Phi-3.5B": 3500,
        "gpt2": 0,
        "x7bit": 0,
    }
    assert {name: millions_of(name) for name in names} == names


def test_both_lists_of_upscalers_agree() -> None:
    assert {name: POST_PROCESSORS[name] for name in UPSCALERS} == UPSCALERS


def test_schedulers_by_ai_horde_s_names() -> None:
    expected = {
        "": ("k_euler", False),
        "k_euler_a": ("k_euler_a", False),
        "k_dpmpp_2m_karras": ("k_dpmpp_2m", True),
        "ddim": ("DDIM", False),
        "DDIMScheduler": ("DDIM", False),
        "DPMSolverMultistepScheduler": ("k_dpmpp_2m", False),
        "LCMScheduler": ("lcm", False),
        "HeunDiscreteScheduler_karras": ("k_heun", True),
        "UniPCMultistepScheduler": None,
        "PNDMScheduler": None,
    }
    assert {name: horde_sampler(name) for name in expected} == expected
    with pytest.raises(EngineError, match="no scheduler"):
        horde_sampler("k_nonsense")


def test_prompts_in_one_line() -> None:
    prompts = {("a", "b"): "a ### b", ("a", ""): "a", ("", "b"): " ### b", ("", ""): "", ("a ### x", "b"): "a ## x ### b"}
    found = {pair: payload_of(replace(WORK, prompt=pair[0], negative_prompt=pair[1]))["prompt"] for pair in prompts}
    assert found == prompts


@pytest.mark.parametrize(
    "work",
    [
        replace(WORK, width=520),
        replace(WORK, height=4096),
        replace(WORK, steps=501),
        replace(WORK, scheduler="UniPCMultistepScheduler"),
        replace(WORK, loras=(Lora("x", bytes(32)),)),
        replace(WORK, inversions=(Inversion("x", bytes(32)),)),
        replace(WORK, control=Control("canny", bytes(32), b"p")),
        replace(WORK, control=Control("canny", digest_of("canny"), b"p"), source=b"q"),
    ],
)
def test_what_ai_horde_s_workers_can_not_be_asked_for(work: Work) -> None:
    with pytest.raises(EngineError) as refused:
        payload_of(work)
    assert refused.value.reason == "unsupported" and "a cat" not in str(refused.value)


def test_holes() -> None:
    def encoded(mode: str, colour: tuple[int, ...]) -> bytes:
        file = BytesIO()
        Image.new(mode, (8, 8), colour).save(file, "PNG")
        return file.getvalue()

    assert has_holes(encoded("RGBA", (1, 2, 3, 0))) and not has_holes(encoded("RGBA", (1, 2, 3, 255)))
    assert not has_holes(encoded("RGB", (1, 2, 3)))
    with pytest.raises(EngineError, match="can't be read"):
        has_holes(b"no picture")


def test_an_inpainting_model_does_nothing_else() -> None:
    allows = frozenset(("img2img", "painting"))
    popper = Popper("p", "image", ("stable_diffusion_inpainting", "Deliberate"), allows=allows)
    inpainting, other = popper.infos()
    assert "inpainting" in inpainting.features and "txt2img" not in inpainting.features
    assert {"txt2img", "img2img", "inpainting"} <= set(other.features)
    assert not {"lora", "inversion"} & {*other.features}


def test_neither_prompts_nor_word_lists_are_shown() -> None:
    popper = Popper("p", "image", ("Deliberate",), blacklist=("hush",))
    assert "hush" not in repr(popper) and "a cat" not in repr(WORK)


def test_what_a_result_earns_is_the_tariff() -> None:
    policy, doubled = WorkerPolicy(), WorkerPolicy(price_permille=2000)
    assert worth(WORK, policy) == image_mkudos(ImageWork(512, 768, 20))
    assert worth(WORK, doubled) == 2 * worth(WORK, policy)
    assert worth(TextWork("kob-7b", "once", 80, (1,), context=2048), policy) == text_mkudos(80, 7000, 2048)
    file = BytesIO()
    Image.new("RGB", (1024, 1024)).save(file, "PNG")
    assert worth(FormWork("caption", b""), policy) == alchemy_mkudos("plain")
    assert worth(FormWork("interrogation", b""), policy) == alchemy_mkudos("interrogation")
    assert worth(FormWork("RealESRGAN_x4plus", file.getvalue()), policy) == alchemy_mkudos("upscale", 4096 * 4096)
    assert worth(FormWork("RealESRGAN_x4plus", b"no picture"), policy) == 0
