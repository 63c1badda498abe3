"""Trains the bundled model from nothing, on a CPU or whatever is faster.

    python -m meshgen.engine.bundled.train --out DIR [--minutes N] [--device auto]

The minutes are shared out: the autoencoder and the text encoder first, then the denoiser, which gets most of them.
Each part is kept in the folder when it is done and the denoiser every few minutes, so a training that was cut
off goes on where it was. The finished model is DIR/model.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from meshgen.engine.bundled.denoiser import train_unet
from meshgen.engine.bundled.export import export, load_parts
from meshgen.engine.bundled.fit import Team, say
from meshgen.engine.bundled.text import train_text
from meshgen.engine.bundled.vae import polish_decoder, train_vae

__all__ = ["main", "pick_device", "train"]

_VAE_SHARE, _TEXT_SHARE = 0.15, 0.08


def pick_device(wish: str) -> str:
    if wish != "auto":
        return wish
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def train(out: Path, minutes: float, device: str, workers: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    done = out / "parts.done"
    if not done.exists():
        train_vae(out / "vae", minutes * _VAE_SHARE * 0.6, device)
        polish_decoder(out / "vae", minutes * _VAE_SHARE * 0.4, device)
        train_text(out / "text", minutes * _TEXT_SHARE, device)
        done.touch()
    rest = minutes * (1 - _VAE_SHARE - _TEXT_SHARE)
    if workers == 1:
        _denoise(0, 1, out, rest, device)
    else:
        (out / "meeting").unlink(missing_ok=True)
        torch.multiprocessing.spawn(_denoise, (workers, out, rest, device), nprocs=workers)
    export(out, out / "model")
    say(f"the model is in {out / 'model'}")


def _denoise(rank: int, workers: int, out: Path, minutes: float, device: str) -> None:
    """One worker's part in the denoiser's training."""
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    vae, encoder, tokenizer = load_parts(out)
    vae = vae.to(device, memory_format=torch.channels_last)
    team = Team(rank, workers, out / "meeting")
    train_unet(out, (vae, encoder.to(device), tokenizer), minutes, device, team)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=100.0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--workers", type=int, help="processes for the denoiser; two on a CPU, else one")
    asked = parser.parse_args()
    device = pick_device(asked.device)
    train(asked.out, asked.minutes, device, asked.workers or (2 if device == "cpu" else 1))


if __name__ == "__main__":
    main()
