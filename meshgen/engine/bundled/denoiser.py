"""The bundled model's denoiser: a small UNet2DConditionModel, trained on latents and text states made on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from meshgen.engine.bundled.draw import PICTURE, render
from meshgen.engine.bundled.fit import Average, Run, Team, autocast, keep, say
from meshgen.engine.bundled.prompts import prompt_for
from meshgen.engine.bundled.text import LENGTH, WIDTH, states_of
from meshgen.engine.bundled.vae import LATENT_CHANNELS, encode_pictures, training_scenes

__all__ = ["build_scheduler", "build_unet", "train_unet"]

CHECKPOINT_SECONDS = 180.0
_POOL = 65_536


def build_unet(widths: tuple[int, int, int] = (64, 96, 128)) -> Any:
    """Convolutions alone at 16x16, attention at 8x8 and 4x4.

    `addition_embed_type` adds the pooled text states to the time embedding, so that every block hears the prompt.
    """
    return UNet2DConditionModel(
        sample_size=PICTURE // 4,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
    )


def build_scheduler() -> Any:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
        steps_offset=1,
    )


class Pool:
    """Latents and text states to train on; grows while the training runs, so that nothing waits for all of it."""

    def __init__(self, vae: Any, encoder: Any, tokenizer: Any, seed: int, device: str) -> None:
        self.vae, self.encoder, self.tokenizer, self.device = vae, encoder, tokenizer, device
        self.rng, self.size = np.random.default_rng(seed), 0
        self.latents = torch.empty(_POOL, LATENT_CHANNELS, PICTURE // 4, PICTURE // 4, dtype=torch.float16)
        self.states = torch.empty(_POOL, LENGTH, WIDTH, dtype=torch.float16)
        self.paired = torch.empty(_POOL, dtype=torch.bool)
        self.silence = states_of(encoder, tokenizer, [""], device)[0]

    def grow(self, count: int) -> None:
        count = min(count, len(self.latents) - self.size)
        if count == 0:
            return
        scenes = training_scenes(count, self.rng)
        prompts = [prompt_for(scene, self.rng) for scene in scenes]
        here = slice(self.size, self.size + count)
        # A prompt that leaves a colour out goes with any colour: `said` is what it asks for.
        said = [asked for _, asked in prompts]
        self.latents[here] = encode_pictures(self.vae, render(said, self.rng), self.device)
        self.states[here] = states_of(self.encoder, self.tokenizer, [text for text, _ in prompts], self.device)
        self.paired[here] = torch.tensor([scene.b is not None for scene in scenes])
        self.size += count

    def batch(self, count: int, pairs: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents and states, `pairs` of them with two things, every tenth without its prompt."""
        paired = self.paired[: self.size]
        weight = torch.where(paired, pairs / paired.sum(), (1 - pairs) / (~paired).sum())
        rows = torch.multinomial(weight, count)
        states = self.states[rows]
        states[torch.rand(count) < 0.1] = self.silence
        return self.latents[rows].to(self.device).float(), states.to(self.device).float()


def _noise_levels(count: int, device: str) -> torch.Tensor:
    """Time steps, most of them where shapes are decided."""
    middle = torch.sigmoid(torch.randn(count) * 1.1 + 0.4)
    spread = torch.where(torch.rand(count) < 0.2, torch.rand(count), middle)
    steps: torch.Tensor = (spread * 1000).long().clamp(0, 999).to(device)
    return steps


def _loss(unet: Any, latents: torch.Tensor, states: torch.Tensor, alphas: torch.Tensor, device: str) -> torch.Tensor:
    steps = _noise_levels(len(latents), device)
    noise = torch.randn_like(latents)
    signal, rest = alphas[steps].sqrt().view(-1, 1, 1, 1), (1 - alphas[steps]).sqrt().view(-1, 1, 1, 1)
    noisy = (signal * latents + rest * noise).contiguous(memory_format=torch.channels_last)
    with autocast(device):
        guess = unet(noisy, steps, states, return_dict=False)[0]
    return (guess.float() - (signal * noise - rest * latents)).square().mean()


def train_unet(
    folder: Path,
    parts: tuple[Any, Any, Any],
    minutes: float,
    device: str,
    team: Team | None = None,
    seed: int = 4,
    batch: int = 64,
) -> None:
    """Trains the denoiser for so many minutes; takes up an earlier run's checkpoint when there is one."""
    team = team or Team()
    torch.manual_seed(seed)
    unet = build_unet().to(device, memory_format=torch.channels_last)
    # The fused attention is slow backwards on CPUs at so few tokens; the two agree.
    unet.set_attn_processor(AttnProcessor())
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    run, average = Run(minutes, 1.2e-3), Average(unet, 0.999)
    state = folder / "unet.pt"
    if state.exists():
        _resume(state, unet, optimizer, run, average)
    torch.manual_seed(seed + 1000 * run.steps + team.rank)
    pool = Pool(*parts, seed=seed + 10 * run.steps + team.rank, device=device)
    pool.grow(_POOL // 16)
    run.begin()
    _loop(run, unet, optimizer, average, pool, batch // team.size, team, state)
    if team.rank == 0:
        _checkpoint(state, unet, optimizer, run, average)


def _loop(
    run: Run,
    unet: Any,
    optimizer: Any,
    average: Average,
    pool: Pool,
    batch: int,
    team: Team,
    state: Path,
) -> None:
    alphas, parameters = build_scheduler().alphas_cumprod.to(pool.device), list(unet.parameters())
    mean, saved = 0.0, run.spent
    while run.tick():
        pairs = 0.3 + 0.35 * min(1.0, 2 * run.share)  # single things first
        loss = _loss(unet, *pool.batch(batch, pairs), alphas, pool.device)
        run.step(optimizer, loss, parameters, team)
        average.follow(unet)
        mean += loss.item() / 100
        if run.steps % 50 == 0:
            pool.grow(10 * batch)
        if team.rank == 0 and run.steps % 100 == 0:
            pace = run.spent / run.steps
            say(f"unet step {run.steps}, {run.share:.1%}, loss {mean:.4f}, {pace:.3f} s a step, pool {pool.size}")
        mean *= run.steps % 100 != 0
        if team.rank == 0 and run.spent - saved > CHECKPOINT_SECONDS:
            saved = run.spent
            _checkpoint(state, unet, optimizer, run, average)


def _checkpoint(path: Path, unet: Any, optimizer: Any, run: Run, average: Average) -> None:
    keep(
        path,
        unet=unet.state_dict(),
        optimizer=optimizer.state_dict(),
        average=average.weights,
        count=average.count,
        spent=run.spent,
        steps=run.steps,
    )


def _resume(path: Path, unet: Any, optimizer: Any, run: Run, average: Average) -> None:
    state = torch.load(path, weights_only=True)
    unet.load_state_dict(state["unet"])
    optimizer.load_state_dict(state["optimizer"])
    average.weights, average.count = state["average"], state["count"]
    run.spent, run.steps = state["spent"], state["steps"]
    say(f"goes on from step {run.steps}")


def averaged_unet(path: Path) -> Any:
    """The denoiser of a checkpoint, with its averaged weights."""
    unet = build_unet()
    unet.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["average"])
    return unet
