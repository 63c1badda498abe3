"""Checkpoints in the original layout load offline and draw what the diffusers folder with the same weights draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers.loaders import single_file_utils as converters  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402

from meshgen.engine.diffusion.loading import load_pipeline  # noqa: E402
from meshgen.engine.models.single_file_configs import (  # noqa: E402
    flux_config,
    open_clip_config,
    sd3_config,
    unet_config,
    vae_config,
    with_size_embedding,
)
from meshgen.engine.port import EngineError  # noqa: E402
from tests.engine import original_layout  # noqa: E402
from tests.engine.original_layout import save_single_file  # noqa: E402
from tests.engine.tiny_originals import t5_vocabulary, tiny_sd, tiny_sd2, tiny_sd3, tiny_sd3_with_t5, tiny_sdxl, vocabulary  # noqa: E402


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-cache"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """More of them cost more than they bring for models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def frame(path: Path, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    given = {"name": "m", "path": str(path), "variant": "", "allow_pickle": False, "format": "single_file"}
    places = {"clip": str(vocabulary(tmp_path / "vocabulary")), "t5": str(t5_vocabulary(tmp_path / "t5"))}
    return given | {"vocabularies": places} | changes


def picture(pipe: Any, **more: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    given = {"num_inference_steps": 2, "width": 32, "height": 32, "output_type": "np"}
    return pipe("a red cat", generator=torch.Generator().manual_seed(7), **(given | more)).images[0]


@pytest.mark.parametrize("make", [tiny_sd, tiny_sd2, tiny_sdxl, tiny_sd3, tiny_sd3_with_t5])
def test_it_draws_what_the_folder_draws(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    pipe = make(tmp_path / "vocabulary")
    path = save_single_file(pipe, tmp_path / "model.safetensors")
    loaded = load_pipeline(frame(path, tmp_path), torch.float32)
    assert type(loaded) is type(pipe)
    loaded.scheduler = pipe.scheduler
    assert abs(picture(loaded) - picture(pipe)).max() < 1e-4


def test_one_for_inpainting(tmp_path: Path) -> None:
    path = save_single_file(tiny_sd(tmp_path / "vocabulary", in_channels=9), tmp_path / "model.safetensors")
    loaded = load_pipeline(frame(path, tmp_path), torch.float32)
    assert type(loaded).__name__ == "StableDiffusionInpaintPipeline" and loaded.unet.config.in_channels == 9
    grey = torch.full((1, 3, 32, 32), 0.5)
    assert picture(loaded, image=grey, mask_image=torch.ones(1, 1, 32, 32)).shape == (32, 32, 3)


def test_half_precision_and_v_prediction(tmp_path: Path) -> None:
    pipe = tiny_sdxl(tmp_path / "vocabulary").to(torch.float16)
    more = {"v_pred": torch.ones(1), "ztsnr": torch.ones(1)}
    path = save_single_file(pipe, tmp_path / "model.safetensors", **more)
    loaded = load_pipeline(frame(path, tmp_path), torch.bfloat16)
    assert loaded.unet.dtype == loaded.text_encoder_2.dtype == torch.bfloat16
    assert loaded.scheduler.config.prediction_type == "v_prediction" and loaded.scheduler.config.rescale_betas_zero_snr
    assert (loaded.tokenizer.pad_token, loaded.tokenizer_2.pad_token) == ("<|endoftext|>", "!")


def test_a_folder_loads_as_ever(tmp_path: Path) -> None:
    pipe = tiny_sd(tmp_path / "vocabulary")
    pipe.save_pretrained(tmp_path / "folder")
    loaded = load_pipeline(frame(tmp_path / "folder", tmp_path, format="diffusers"), torch.float32)
    assert abs(picture(loaded) - picture(pipe)).max() < 1e-6


def test_a_pickled_checkpoint_needs_the_owners_word(tmp_path: Path) -> None:
    pipe = tiny_sd(tmp_path / "vocabulary")
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": original_layout.original_tensors(pipe), "global_step": 470000}, path)
    with pytest.raises(EngineError, match="can run code"):
        load_pipeline(frame(path, tmp_path), torch.float32)
    assert load_pipeline(frame(path, tmp_path, allow_pickle=True), torch.float32).unet is not None


def test_the_tokenizer_is_found_near_the_checkpoint_or_its_lack_named(tmp_path: Path) -> None:
    pipe = tiny_sd(tmp_path / "vocabulary")
    path = tmp_path / "ComfyUI" / "models" / "checkpoints" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_single_file(pipe, path)
    with pytest.raises(EngineError, match="needs the tokenizer of CLIP"):
        load_pipeline(frame(path, tmp_path, vocabularies={}), torch.float32)
    vocabulary(tmp_path / "ComfyUI" / "comfy" / "sd1_tokenizer")
    assert load_pipeline(frame(path, tmp_path, vocabularies={}), torch.float32).tokenizer("a").input_ids


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    pipe = tiny_sd(tmp_path / "vocabulary")
    whole = original_layout.original_tensors(pipe)
    lost = "model.diffusion_model.output_blocks.0.0.in_layers.0.weight"
    from safetensors.torch import save_file

    kept = {name: tensor.clone().contiguous() for name, tensor in whole.items() if name != lost}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(EngineError, match="can't be loaded") as caught:
        load_pipeline(frame(tmp_path / "model.safetensors", tmp_path), torch.float32)
    assert caught.value.reason == "bad_model"


# -- the real sizes, without their memory


@pytest.fixture
def without_memory() -> Iterator[None]:
    with torch.device("meta"):
        yield


SD15 = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD21 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
SDXL = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def shapes_of(tensors: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize("facts", [SD15, SD21, SDXL], ids=["1.5", "2.1", "xl"])
def test_a_denoiser_of_real_size(facts: dict[str, Any]) -> None:
    model = diffusers.UNet2DConditionModel(**facts)
    original = original_layout.unet(model)
    config = unet_config(shapes_of(original))
    if "addition_embed_type" in facts:
        config = with_size_embedding(config, shapes_of(original), 1280)
    assert {name: config.get(name, facts[name]) for name in facts} == facts
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in original.items()}
    again = converters.convert_ldm_unet_checkpoint(prefixed, config)
    assert shapes_of(again) == shapes_of(diffusers.UNet2DConditionModel(**config).state_dict())


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize("channels", [4, 16])
def test_a_vae_of_real_size(channels: int) -> None:
    quant = channels == 4
    model = diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=channels,
        use_quant_conv=quant,
        use_post_quant_conv=quant,
    )
    original = original_layout.vae_tensors(model)
    config = vae_config(shapes_of(original), "sd1" if quant else "flux")
    assert shapes_of(diffusers.AutoencoderKL(**config).state_dict()) == shapes_of(model.state_dict())
    again = converters.convert_ldm_vae_checkpoint(
        {f"first_stage_model.{name}": value for name, value in original.items()}, config
    )
    assert shapes_of(again) == shapes_of(model.state_dict())


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize(
    "facts",
    [
        {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192},
        {
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "dual_attention_layers": list(range(13)),
            "qk_norm": "rms_norm",
        },
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
    ],
    ids=["3-medium", "3.5-medium", "3.5-large"],
)
def test_sd3_of_real_size(facts: dict[str, Any]) -> None:
    model = diffusers.SD3Transformer2DModel(**facts)
    original = original_layout.sd3(model)
    config = sd3_config(shapes_of(original))
    assert {name: config[name] for name in facts} == facts
    assert shapes_of(diffusers.SD3Transformer2DModel(**config).state_dict()) == shapes_of(model.state_dict())
    assert shapes_of(converters.convert_sd3_transformer_checkpoint_to_diffusers(original)) == shapes_of(model.state_dict())


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize("guided", [True, False], ids=["dev", "schnell"])
def test_flux_of_real_size(guided: bool) -> None:
    model = diffusers.FluxTransformer2DModel(guidance_embeds=guided)
    original = original_layout.flux(model)
    config = flux_config(shapes_of(original))
    assert config["guidance_embeds"] == guided and (config["num_layers"], config["num_single_layers"]) == (19, 38)
    assert shapes_of(diffusers.FluxTransformer2DModel(**config).state_dict()) == shapes_of(model.state_dict())
    assert shapes_of(converters.convert_flux_transformer_checkpoint_to_diffusers(original)) == shapes_of(model.state_dict())


@pytest.mark.usefixtures("without_memory")
def test_the_text_encoder_of_stable_diffusion_2_lacks_its_last_layer() -> None:
    facts = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    original = original_layout.open_clip(CLIPTextModel(CLIPTextConfig(vocab_size=49408, **facts)))
    config = open_clip_config(shapes_of(original), 1)
    assert {name: config[name] for name in facts} == facts | {"num_hidden_layers": 23}
