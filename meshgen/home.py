"""A node's home: where it is, and the names of what lies in it."""

from __future__ import annotations

import os
from pathlib import Path

CONFIG_FILE = "config.yaml"
TOKEN_FILE = "api.token"
"""The local API's bearer token, mode 0600."""
RUN_FILE = "run/api.json"
"""Where the running node's API is: {url, pid, token_file, pictures_dir}; there only while it runs."""


def home_dir() -> Path:
    """The folder of this node's key, logs, models and state: ``MESHGEN_HOME``, else the platform's data directory."""
    if given := os.environ.get("MESHGEN_HOME"):
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("meshgen", appauthor=False)
