"""What diffusers must be told of each part of a single-file checkpoint, worked out from its tensors' shapes.

A checkpoint in the original layout brings no configs; those that belong to it by name would have to be downloaded. Nearly all of
what they say is in the shapes, the rest are facts of the families.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from meshgen.engine.models.tensor_file import Shape, Shapes

Config = dict[str, Any]

UNET = "model.diffusion_model."
VAES = ("first_stage_model.", "vae.")

LATENTS: Mapping[str, Config] = {
    "sd1": {"scaling_factor": 0.18215},
    "other": {"scaling_factor": 0.18215},
    "sdxl": {"scaling_factor": 0.13025},
    "sd3": {"scaling_factor": 1.5305, "shift_factor": 0.0609},
    "flux": {"scaling_factor": 0.3611, "shift_factor": 0.1159},
}
"""How each family's VAE scales its latents."""


class ConfigError(ValueError):
    """The shapes are not those of a model that can be run here."""


def below(shapes: Shapes, prefix: str) -> dict[str, Shape]:
    """Those tensors, without the prefix."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def unet_config(shapes: Shapes) -> Config:
    """Of a UNet2DConditionModel; ``shapes`` without prefix. Raises ConfigError."""
    levels = _levels(shapes)
    channels = [level[-1][0] for level in levels]
    depths = [level[0][1] for level in levels]
    middle = _depth(shapes, "middle_block.1.")
    layers = {len(level) for level in levels}
    if len(layers) != 1 or not middle or depths[-1] not in (0, middle) or any(c < 1 for c in channels):
        raise ConfigError("its UNet is a cut-down one (as SSD-1B's or Segmind's), whose layout is not known here")
    linear = any(name.endswith("1.proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    crossed = [depth > 0 for depth in depths]
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers.pop(),
        "down_block_types": ["CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crossed],
        "up_block_types": ["CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(crossed)],
        "transformer_layers_per_block": [*(max(depth, 1) for depth in depths[:-1]), middle],
        "cross_attention_dim": next(shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")),
        "use_linear_projection": linear,
        "attention_head_dim": [max(c // 64, 1) for c in channels] if linear else 8,
    }


def with_size_embedding(unet: Config, shapes: Shapes, pooled: int) -> Config:
    """SDXL's: six numbers about the picture's size beside the pooled prompt."""
    width = shapes["label_emb.0.0.weight"][1]
    return unet | {
        "addition_embed_type": "text_time",
        "projection_class_embeddings_input_dim": width,
        "addition_time_embed_dim": (width - pooled) // 6,
    }


def _levels(shapes: Shapes) -> list[list[tuple[int, int]]]:
    """(channels, transformer blocks) of every residual block, by resolution."""
    levels: list[list[tuple[int, int]]] = [[]]
    for index in range(1, 1 + max(_numbers(shapes, "input_blocks."), default=0)):
        block = f"input_blocks.{index}."
        if f"{block}0.op.weight" in shapes:
            levels.append([])
        else:
            levels[-1].append((shapes[f"{block}0.out_layers.3.weight"][0], _depth(shapes, f"{block}1.")))
    if not all(levels):
        raise ConfigError("its UNet's blocks are not laid out as those of Stable Diffusion")
    return levels


def _depth(shapes: Shapes, place: str) -> int:
    return len(_numbers(shapes, f"{place}transformer_blocks."))


def vae_config(shapes: Shapes, family: str) -> Config:
    """Of an AutoencoderKL; ``shapes`` without prefix."""
    levels = len(_numbers(shapes, "encoder.down."))
    return {
        "block_out_channels": [shapes[f"encoder.down.{level}.block.0.conv2.weight"][0] for level in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": len(_numbers(shapes, "encoder.down.0.block.")),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "sample_size": 512 if family in ("sd1", "other") else 1024,
        **LATENTS[family],
    }


def clip_config(shapes: Shapes, activation: str = "quick_gelu", projection: int = 0) -> Config:
    """Of a CLIPTextModel as transformers names its tensors; ``projection`` is the width of what it ends in, if it has that."""
    vocabulary, width = shapes["text_model.embeddings.token_embedding.weight"]
    return _clip(
        vocabulary,
        width,
        layers=len(_numbers(shapes, "text_model.encoder.layers.")),
        inner=shapes["text_model.encoder.layers.0.mlp.fc1.weight"][0],
        positions=shapes["text_model.embeddings.position_embedding.weight"][0],
        activation=activation,
        projection=projection or width,
    )


def open_clip_config(shapes: Shapes, last_layers_unused: int = 0) -> Config:
    """Of a CLIPTextModel whose tensors are named as open_clip does."""
    vocabulary, width = shapes["token_embedding.weight"]
    return _clip(
        vocabulary,
        width,
        layers=len(_numbers(shapes, "transformer.resblocks.")) - last_layers_unused,
        inner=shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
        positions=shapes["positional_embedding"][0],
        activation="gelu",
        projection=shapes.get("text_projection", (width, width))[1],
    )


def _clip(vocabulary: int, width: int, *, layers: int, inner: int, positions: int, activation: str, projection: int) -> Config:
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": max(width // 64, 1),
        "max_position_embeddings": positions,
        "hidden_act": activation,
        "projection_dim": projection,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": 1,
        "model_type": "clip_text_model",
    }


def t5_config(shapes: Shapes) -> Config:
    """Of a T5EncoderModel of the kind v1.1."""
    vocabulary, width = shapes["shared.weight"]
    buckets, heads = shapes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_ff": shapes["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"][0],
        "d_kv": shapes["encoder.block.0.layer.0.SelfAttention.q.weight"][0] // heads,
        "num_heads": heads,
        "num_layers": len(_numbers(shapes, "encoder.block.")),
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "model_type": "t5",
    }


def sd3_config(shapes: Shapes) -> Config:
    """Of an SD3Transformer2DModel; ``shapes`` without prefix."""
    width, channels, patch = shapes["x_embedder.proj.weight"][:3]
    return {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0] // patch**2,
        "num_layers": len(_numbers(shapes, "joint_blocks.")),
        "attention_head_dim": 64,
        "num_attention_heads": max(width // 64, 1),
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "caption_projection_dim": shapes["context_embedder.weight"][0],
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes["pos_embed"][1]),
        "dual_attention_layers": sorted({int(name.split(".")[1]) for name in shapes if ".x_block.attn2." in name}),
        "qk_norm": "rms_norm" if any(".ln_q." in name for name in shapes) else None,
        "sample_size": 128,
    }


def flux_config(shapes: Shapes) -> Config:
    """Of a FluxTransformer2DModel; ``shapes`` without prefix."""
    width, channels = shapes["img_in.weight"]
    return {
        "in_channels": channels,
        "num_layers": len(_numbers(shapes, "double_blocks.")),
        "num_single_layers": len(_numbers(shapes, "single_blocks.")),
        "attention_head_dim": 128,
        "num_attention_heads": width // 128,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
    }


def noise_scheduler(prediction: str, zero_terminal_snr: bool) -> Config:
    """Euler's method over the noise that Stable Diffusion was trained with."""
    return {
        "_class_name": "EulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "steps_offset": 1,
        "prediction_type": prediction,
        "timestep_spacing": "trailing" if zero_terminal_snr else "leading",
        "rescale_betas_zero_snr": zero_terminal_snr,
    }


def flow_scheduler(family: str, guided: bool = False) -> Config:
    """Flux's large model shifts its noise by the picture's size, its fast one not at all."""
    config: Config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
    if family == "sd3":
        return config | {"shift": 3.0}
    if not guided:
        return config | {"shift": 1.0}
    return config | {
        "shift": 3.0,
        "use_dynamic_shifting": True,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
    }


def _numbers(names: Iterable[str], prefix: str) -> set[int]:
    """Which numbers follow the prefix."""
    found = re.compile(re.escape(prefix) + r"(\d{1,4})\.")
    return {int(match[1]) for name in names if (match := found.match(name))}
