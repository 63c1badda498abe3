"""The model that ships with meshgen: small enough to live in the repository, real enough to be asked.

Importing this package must stay cheap, so nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["model_path"]


def model_path() -> Path:
    """The folder of the bundled model, in the stock Stable Diffusion layout."""
    return Path(__file__).resolve().parent / "model"
