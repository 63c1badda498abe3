"""Pipelines written as one file in the layout that they were published in: the way back from diffusers' names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]
Rules = tuple[tuple[str, str], ...]

_RESNET: Rules = (
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)
_UNET: Rules = (
    (r"^conv_in\.", "input_blocks.0.0."),
    (r"^conv_norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
    (r"^time_embedding\.linear_1\.", "time_embed.0."),
    (r"^time_embedding\.linear_2\.", "time_embed.2."),
    (r"^add_embedding\.linear_1\.", "label_emb.0.0."),
    (r"^add_embedding\.linear_2\.", "label_emb.0.2."),
    (r"^mid_block\.resnets\.0\.", "middle_block.0."),
    (r"^mid_block\.attentions\.0\.", "middle_block.1."),
    (r"^mid_block\.resnets\.1\.", "middle_block.2."),
)
_VAE: Rules = (
    (r"\.(down|up)_blocks\.(\d+)\.resnets\.", r".\1.\2.block."),
    (r"\.(down|up)_blocks\.(\d+)\.(down|up)samplers\.0\.", r".\1.\2.\3sample."),
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"attn_1\.group_norm\.", "attn_1.norm."),
    (r"attn_1\.to_(q|k|v)\.", r"attn_1.\1."),
    (r"attn_1\.to_out\.0\.", "attn_1.proj_out."),
)
_OPEN_CLIP: Rules = (
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
)


def save_single_file(pipe: Any, path: Path, notes: Mapping[str, str] | None = None, **more: torch.Tensor) -> Path:
    tensors = {name: tensor.clone().contiguous() for name, tensor in (original_tensors(pipe) | more).items()}
    save_file(tensors, path, dict(notes or {}))
    return path


def original_tensors(pipe: Any) -> Tensors:
    name = type(pipe).__name__
    if name.startswith("StableDiffusionXL"):
        texts = _below("conditioner.embedders.0.transformer.", clip(pipe.text_encoder))
        texts |= _below("conditioner.embedders.1.model.", open_clip(pipe.text_encoder_2))
    elif name.startswith("StableDiffusion3"):
        texts = _below("text_encoders.clip_l.transformer.", clip(pipe.text_encoder))
        texts |= _below("text_encoders.clip_g.transformer.", clip(pipe.text_encoder_2))
        if pipe.text_encoder_3 is not None:
            texts |= _below("text_encoders.t5xxl.transformer.", _t5(pipe.text_encoder_3))
    elif pipe.text_encoder.config.hidden_act == "gelu":
        texts = _below("cond_stage_model.model.", with_unused_layer(open_clip(pipe.text_encoder)))
    else:
        texts = _below("cond_stage_model.transformer.", clip(pipe.text_encoder))
    vae = _below("first_stage_model.", vae_tensors(pipe.vae))
    denoiser = sd3(pipe.transformer) if name.startswith("StableDiffusion3") else unet(pipe.unet)
    return texts | vae | _below("model.diffusion_model.", denoiser)


def unet(model: Any) -> Tensors:
    layers = model.config.layers_per_block
    crossed = ["CrossAttn" in kind for kind in model.config.up_block_types]

    def place(match: re.Match[str]) -> str:
        side, block, kind, number = match[1], int(match[2]), match[3], int(match[4])
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.op."
        if kind == "upsamplers":
            return f"output_blocks.{block * (layers + 1) + layers}.{2 if crossed[block] else 1}.conv."
        index = 1 + block * (layers + 1) + number if side == "down" else block * (layers + 1) + number
        return f"{'input' if side == 'down' else 'output'}_blocks.{index}.{int(kind == 'attentions')}."

    found = {}
    for name, tensor in model.state_dict().items():
        inner = _renamed(name, _RESNET if ".resnets." in name else ())
        found[re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(?:conv\.)?", place, _renamed(inner, _UNET))] = tensor
    return found


def vae_tensors(model: Any) -> Tensors:
    levels = len(model.config.block_out_channels)
    found = {}
    for name, tensor in model.state_dict().items():
        turned = re.sub(r"up_blocks\.(\d+)", lambda match: f"up_blocks.{levels - 1 - int(match[1])}", name)
        new = _renamed(turned, _VAE)
        found[new] = tensor[:, :, None, None] if ".attn_1." in new and tensor.ndim == 2 else tensor
    return found


def clip(model: Any) -> Tensors:
    return dict(_with_text_model(model))


def open_clip(model: Any) -> Tensors:
    found, parts = {}, dict(_with_text_model(model))
    for name, tensor in parts.items():
        if name == "text_projection.weight":
            found["text_projection"] = tensor.T
        elif ".self_attn." in name and "out_proj" not in name:
            if ".q_proj." in name:
                joined = torch.cat([parts[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"])
                found[_renamed(name.replace(".self_attn.q_proj.", ".attn.in_proj_"), _OPEN_CLIP)] = joined
        else:
            found[_renamed(name, _OPEN_CLIP)] = tensor
    return found


def with_unused_layer(tensors: Tensors) -> Tensors:
    """Stable Diffusion 2's files have one layer more than is used."""
    layers = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("transformer.resblocks."))
    last = f"transformer.resblocks.{layers - 1}."
    more = {
        name.replace(last, f"transformer.resblocks.{layers}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(last)
    }
    return tensors | more


_SD3: Rules = (
    (r"^pos_embed\.pos_embed$", "pos_embed"),
    (r"^pos_embed\.proj\.", "x_embedder.proj."),
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "y_embedder.mlp.0."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "y_embedder.mlp.2."),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^transformer_blocks\.(\d+)\.norm1\.linear\.", r"joint_blocks.\1.x_block.adaLN_modulation.1."),
    (r"^transformer_blocks\.(\d+)\.norm1_context\.linear\.", r"joint_blocks.\1.context_block.adaLN_modulation.1."),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.0\.proj\.", r"joint_blocks.\1.x_block.mlp.fc1."),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.2\.", r"joint_blocks.\1.x_block.mlp.fc2."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj\.", r"joint_blocks.\1.context_block.mlp.fc1."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.net\.2\.", r"joint_blocks.\1.context_block.mlp.fc2."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_out\.0\.", r"joint_blocks.\1.x_block.attn.proj."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_add_out\.", r"joint_blocks.\1.context_block.attn.proj."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_q\.", r"joint_blocks.\1.x_block.attn.qkv."),
    (r"^transformer_blocks\.(\d+)\.attn\.add_q_proj\.", r"joint_blocks.\1.context_block.attn.qkv."),
    (r"^transformer_blocks\.(\d+)\.(attn2?)\.norm_(q|k)\.", r"joint_blocks.\1.x_block.\2.ln_\3."),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_added_(q|k)\.", r"joint_blocks.\1.context_block.attn.ln_\2."),
    (r"^transformer_blocks\.(\d+)\.attn2\.to_out\.0\.", r"joint_blocks.\1.x_block.attn2.proj."),
    (r"^transformer_blocks\.(\d+)\.attn2\.to_q\.", r"joint_blocks.\1.x_block.attn2.qkv."),
)
_FLUX: Rules = (
    (r"^x_embedder\.", "img_in."),
    (r"^context_embedder\.", "txt_in."),
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "vector_in.in_layer."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "vector_in.out_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_1\.", "guidance_in.in_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_2\.", "guidance_in.out_layer."),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^single_transformer_blocks\.(\d+)\.norm\.linear\.", r"single_blocks.\1.modulation.lin."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"single_blocks.\1.norm.query_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"single_blocks.\1.norm.key_norm.scale"),
    (r"^single_transformer_blocks\.(\d+)\.proj_out\.", r"single_blocks.\1.linear2."),
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_q\.", r"single_blocks.\1.linear1."),
    (r"^transformer_blocks\.(\d+)\.norm1\.linear\.", r"double_blocks.\1.img_mod.lin."),
    (r"^transformer_blocks\.(\d+)\.norm1_context\.linear\.", r"double_blocks.\1.txt_mod.lin."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_q\.", r"double_blocks.\1.img_attn.qkv."),
    (r"^transformer_blocks\.(\d+)\.attn\.add_q_proj\.", r"double_blocks.\1.txt_attn.qkv."),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"double_blocks.\1.img_attn.norm.query_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"double_blocks.\1.img_attn.norm.key_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_added_q\.weight", r"double_blocks.\1.txt_attn.norm.query_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.norm_added_k\.weight", r"double_blocks.\1.txt_attn.norm.key_norm.scale"),
    (r"^transformer_blocks\.(\d+)\.attn\.to_out\.0\.", r"double_blocks.\1.img_attn.proj."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_add_out\.", r"double_blocks.\1.txt_attn.proj."),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.0\.proj\.", r"double_blocks.\1.img_mlp.0."),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.2\.", r"double_blocks.\1.img_mlp.2."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj\.", r"double_blocks.\1.txt_mlp.0."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.net\.2\.", r"double_blocks.\1.txt_mlp.2."),
)


def sd3(model: Any) -> Tensors:
    parts = dict(model.state_dict())
    last = f"transformer_blocks.{model.config.num_layers - 1}.norm1_context.linear."
    found = {}
    for name in parts:
        if not re.search(r"\.(to_k|to_v|add_k_proj|add_v_proj)\.", name):
            joined = _joined(parts, name)
            found[_renamed(name, _SD3)] = _halves_swapped(joined) if name.startswith((last, "norm_out.linear.")) else joined
    return found


def flux(model: Any) -> Tensors:
    parts, found = dict(model.state_dict()), {}
    for name in parts:
        if re.search(r"\.(to_k|to_v|add_k_proj|add_v_proj|proj_mlp)\.", name):
            continue
        joined = _joined(parts, name)
        if name.startswith("single_") and ".to_q." in name:
            joined = torch.cat([joined, parts[name.replace("attn.to_q", "proj_mlp")]])
        found[_renamed(name, _FLUX)] = _halves_swapped(joined) if name.startswith("norm_out.linear.") else joined
    return found


def _joined(parts: Tensors, name: str) -> torch.Tensor:
    """Queries come with the keys and values behind them; all else as it is."""
    if not re.search(r"\.(to_q|add_q_proj)\.", name):
        return parts[name]
    return torch.cat([parts[re.sub(r"\.(to|add)_q", rf".\1_{letter}", name)] for letter in "qkv"])


def _halves_swapped(tensor: torch.Tensor) -> torch.Tensor:
    first, second = tensor.chunk(2)
    return torch.cat([second, first])


def _t5(model: Any) -> Tensors:
    """The embedding once, as files have it."""
    return {name: tensor for name, tensor in model.state_dict().items() if name != "encoder.embed_tokens.weight"}


def _with_text_model(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in model.state_dict().items():
        bare = name.startswith(("text_model.", "text_projection."))
        yield name if bare else f"text_model.{name}", tensor


def _renamed(name: str, rules: Rules) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def _below(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}
