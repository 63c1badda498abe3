"""The ready-made profiles: ``peers/X.yaml``."""

from __future__ import annotations

from pathlib import Path


def profiles_dir() -> Path:
    """``peers/`` of the checkout if there is one, else the copy that ships in the wheel."""
    package = Path(__file__).parent.parent
    checkout = package.parent / "peers"
    return checkout if (package.parent / "pyproject.toml").exists() and checkout.is_dir() else package / "_data" / "peers"


def profile_names() -> list[str]:
    return sorted(path.stem for path in profiles_dir().glob("*.yaml"))
