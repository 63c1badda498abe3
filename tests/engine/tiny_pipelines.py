"""Pipelines of a few thousand random weights in the stock layout: they draw noise, but they draw it as the large ones do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

WIDTH = 32
FAMILIES = ("sd1", "sdxl", "sd3", "flux")


def save_tiny_sd(folder: Path) -> Path:
    """Stable Diffusion 1.x in small: 32x32 pixels."""
    torch.manual_seed(1)
    StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=_tokenizer(folder),
        unet=_unet(),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "model")
    return folder / "model"


def save_tiny_sdxl(folder: Path) -> Path:
    torch.manual_seed(2)
    StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(projection_dim=WIDTH)),
        tokenizer=_tokenizer(folder),
        tokenizer_2=_tokenizer(folder),
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        ),
        scheduler=_scheduler(),
        add_watermarker=False,
    ).save_pretrained(folder / "model")
    return folder / "model"


def save_tiny_sd3(folder: Path, t5: bool = True) -> Path:
    torch.manual_seed(3)
    StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
            joint_attention_dim=2 * WIDTH, caption_projection_dim=WIDTH, pooled_projection_dim=2 * WIDTH, out_channels=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=CLIPTextModelWithProjection(_text_config(projection_dim=WIDTH)),
        tokenizer=_tokenizer(folder),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(projection_dim=WIDTH)),
        tokenizer_2=_tokenizer(folder),
        text_encoder_3=_t5(2 * WIDTH) if t5 else None,
        tokenizer_3=_t5_tokenizer() if t5 else None,
    ).save_pretrained(folder / "model")  # fmt: skip
    return folder / "model"


def save_tiny_flux(folder: Path) -> Path:
    torch.manual_seed(4)
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=_tokenizer(folder),
        text_encoder_2=_t5(WIDTH),
        tokenizer_2=_t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
        ),
    )  # fmt: skip
    pipe.save_pretrained(folder / "model")
    return folder / "model"


SAVE = {"sd1": save_tiny_sd, "sdxl": save_tiny_sdxl, "sd3": save_tiny_sd3, "flux": save_tiny_flux}


def save_tiny_controlnet(pipe: Any, family: str, folder: Path) -> Path:
    """For the pipeline's denoiser; its answers are not silence, as they would be before training."""
    torch.manual_seed(5)
    if family in ("sd1", "sdxl"):
        net = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 16))
    elif family == "sd3":
        net = SD3ControlNetModel.from_transformer(pipe.transformer, num_layers=1, num_extra_conditioning_channels=0)
    else:
        net = FluxControlNetModel.from_transformer(
            pipe.transformer, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2
        )
    for name, weight in net.named_parameters():
        if not weight.any() and name.endswith("weight"):
            torch.nn.init.normal_(weight, std=0.5)
    net.save_pretrained(folder)
    return folder


def save_tiny_lora(pipe: Any, family: str, file: Path, seed: int = 6) -> Path:
    """As diffusers saves them, over the denoiser's attention and, where there is one that counts, a text encoder's."""
    torch.manual_seed(seed)
    part = "unet" if family in ("sd1", "sdxl") else "transformer"
    states = {}
    for owner in (part, "text_encoder"):
        for name, module in getattr(pipe, owner).named_modules():
            if name.endswith(("to_q", "to_v", "q_proj", "v_proj", "out_proj")) and isinstance(module, torch.nn.Linear):
                down, up = torch.randn(4, module.in_features), torch.randn(module.out_features, 4)
                states |= {f"{owner}.{name}.lora_A.weight": down, f"{owner}.{name}.lora_B.weight": up}
    save_file(states, file)
    return file


def save_tiny_inversion(file: Path, widths: dict[str, int], vectors: int = 2) -> Path:
    torch.manual_seed(7)
    save_file({name: 3 * torch.randn(vectors, width) for name, width in widths.items()}, file)
    return file


def _t5(width: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=200, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=4))


def _t5_tokenizer() -> T5Tokenizer:
    letters = [(letter, -2.0) for letter in ("\u2581", *(chr(code) for code in range(33, 127)))]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters], extra_ids=0)


def _vae(**changes: Any) -> AutoencoderKL:
    fields: dict[str, Any] = {"latent_channels": 4, **changes}
    return AutoencoderKL(
        **fields,
        block_out_channels=(WIDTH, WIDTH),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=32,
    )


def _unet(**changes: Any) -> UNet2DConditionModel:
    fields: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (WIDTH, WIDTH),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
    }
    return UNet2DConditionModel(**{**fields, **changes})


def _scheduler() -> DDIMScheduler:
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)


def _text_config(**changes: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=200,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_attention_heads=4,
        num_hidden_layers=2,
        bos_token_id=0,
        eos_token_id=1,
        **changes,
    )


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """One token a letter."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
