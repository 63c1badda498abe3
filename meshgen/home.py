"""A node's home: where it is, and the names of what lies in it."""

from __future__ import annotations

import os
from pathlib import Path

CONFIG_FILE = "config.yaml"
TOKEN_FILE = "api.token"
"""The local API's bearer token, mode 0600."""
ACCOUNT_FILE = "account.id"
"""The account that the log of this home belongs to, 64 hex digits; without it the log begins an account of its own."""
RUN_FILE = "run/api.json"
"""Where the running node's API is: {url, pid, token_file, pictures_dir}; there only while it runs."""


def read_account(home: Path) -> bytes:
    """The account that this home was made for; b"" if none was named. Raises ValueError if the file is damaged."""
    try:
        text = (home / ACCOUNT_FILE).read_text("ascii").strip()
        account = bytes.fromhex(text)
    except FileNotFoundError:
        return b""
    except (OSError, ValueError):
        account = b""
    if len(account) != 32:
        raise ValueError(f"{home / ACCOUNT_FILE} holds no account's id (64 hex digits); mend it, or remove it")
    return account


def home_dir() -> Path:
    """The folder of this node's key, logs, models and state: ``MESHGEN_HOME``, else the platform's data directory."""
    if given := os.environ.get("MESHGEN_HOME"):
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("meshgen", appauthor=False)
