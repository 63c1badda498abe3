"""Small random pipelines whose shapes follow the families' rules, so that they survive the way into one file and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from meshgen.engine.diffusion.vocabularies import write_t5_tokenizer
from meshgen.engine.models.single_file_configs import LATENTS, noise_scheduler

LETTERS = [chr(code) for code in range(33, 127)]
WORDS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
T5_MARKS = ("<pad>", "</s>", "<unk>")
SIDE = 32


def vocabulary(folder: Path) -> Path:
    """A CLIP vocabulary of single letters."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def tiny_sd(folder: Path, in_channels: int = 4) -> Any:
    torch.manual_seed(1)
    return StableDiffusionPipeline(
        vae=_vae("sd1", 4),
        text_encoder=CLIPTextModel(_clip(64)),
        tokenizer=_tokenizer(folder),
        unet=_unet(in_channels=in_channels, cross_attention_dim=64),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tiny_sd2(folder: Path) -> Any:
    torch.manual_seed(4)
    return StableDiffusionPipeline(
        vae=_vae("other", 4),
        text_encoder=CLIPTextModel(_clip(128, "gelu")),
        tokenizer=_tokenizer(folder, "!"),
        unet=_unet(cross_attention_dim=128, use_linear_projection=True, attention_head_dim=(1, 1)),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tiny_sdxl(folder: Path) -> Any:
    torch.manual_seed(2)
    unet = _unet(
        cross_attention_dim=192,
        use_linear_projection=True,
        attention_head_dim=(1, 1),
        transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 128,
    )
    return StableDiffusionXLPipeline(
        vae=_vae("sdxl", 4),
        text_encoder=CLIPTextModel(_clip(64)),
        text_encoder_2=CLIPTextModelWithProjection(_clip(128, "gelu")),
        tokenizer=_tokenizer(folder),
        tokenizer_2=_tokenizer(folder, "!"),
        unet=unet,
        scheduler=_scheduler(),
        add_watermarker=False,
    )


def t5_vocabulary(folder: Path) -> Path:
    """A T5 vocabulary of single letters."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(97 + number) for number in range(26)]
    words = [*T5_MARKS, "▁", *letters, *(f"▁{letter}" for letter in letters)]
    tokenizer = Tokenizer(Unigram([(word, -1.0 - number) for number, word in enumerate(words)], 2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def tiny_sd3_with_t5(folder: Path) -> Any:
    """``folder`` gets CLIP's vocabulary, the folder t5 beside it T5's."""
    pipe = tiny_sd3(folder)
    pipe.text_encoder_3 = T5EncoderModel(
        T5Config(vocab_size=64, d_model=256, d_ff=32, d_kv=8, num_heads=4, num_layers=2, feed_forward_proj="gated-gelu")
    ).eval()
    write_t5_tokenizer(t5_vocabulary(folder.parent / "t5"), folder.parent / "t5-tokenizer", 256)
    pipe.tokenizer_3 = T5Tokenizer.from_pretrained(folder.parent / "t5-tokenizer")
    return pipe


def tiny_sd3(folder: Path) -> Any:
    torch.manual_seed(3)
    first, second = CLIPTextModelWithProjection(_clip(64)), CLIPTextModelWithProjection(_clip(128, "gelu"))
    first.text_projection.weight.data = torch.eye(64)  # the file of this family has none for it
    transformer = SD3Transformer2DModel(
        sample_size=16,
        in_channels=16,
        num_layers=2,
        attention_head_dim=64,
        num_attention_heads=1,
        joint_attention_dim=256,
        caption_projection_dim=64,
        pooled_projection_dim=192,
        pos_embed_max_size=16,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae("sd3", 16),
        text_encoder=first,
        tokenizer=_tokenizer(folder),
        text_encoder_2=second,
        tokenizer_2=_tokenizer(folder, "!"),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def _vae(family: str, channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
        **LATENTS[family],
    )


def _unet(**changes: Any) -> UNet2DConditionModel:
    fields: dict[str, Any] = {
        "sample_size": SIDE // 2,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return UNet2DConditionModel(**fields | changes)


def _scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler.from_config(noise_scheduler("epsilon", zero_terminal_snr=False))


def _clip(width: int, activation: str = "quick_gelu") -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=max(width // 64, 1),
        num_hidden_layers=2,
        hidden_act=activation,
        projection_dim=width,
        bos_token_id=len(WORDS) - 2,
        eos_token_id=len(WORDS) - 1,
    )


def _tokenizer(folder: Path, pad: str = "<|endoftext|>") -> CLIPTokenizer:
    vocabulary(folder)
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77, pad_token=pad)
