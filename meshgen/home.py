"""A node's home: where it is, and the names of what lies in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CONFIG_FILE = "config.yaml"
TOKEN_FILE = "api.token"
"""The local API's bearer token, mode 0600."""
KEY_FILE = "api.key"
"""The owner's own key to the API, mode 0600: unlike the token it lasts, as clients keep it."""
SHARED_KEYS_FILE = "keys.json"
"""Keys that the owner gave to others, with their limits, mode 0600."""
ACCOUNT_FILE = "account.id"
"""The account that the log of this home belongs to, 64 hex digits, and in a second line the peer id of a device that is in it;
without the file the log begins an account of its own."""
BEGUN_FILE = "ledger.begun"
"""The peer id of the key whose credit log has begun here, so that a log that was lost is not begun a second time."""
PLACE_FILE = "ledger.place"
"""When BEGUN_FILE was put here, in the file system's words: elsewhere these are others, so the log there is a copy."""
INCOMING_KEY_FILE = "identity.key.next"
"""A key that is about to be the one in use; there only while, or because, that was cut off."""
RETIRED_DIR = "retired"
"""Keys that were in use once, PEER_ID.key each."""
VERSION_FILE = "home.version"
"""Which version of this folder's layout it has: a number. Homes from before there were versions have none, and count as 1."""
HOME_VERSION = 1
"""What this meshgen reads and writes; :mod:`meshgen.migrations` brings older ones there."""
RESTORED_FILE = "ledger.restored"
"""There from `meshgen restore` until others have said where this home's credit log ends: nothing is appended before."""
RESTORING_DIR = ".restoring"
"""There only while, or because, a restore was cut off."""
RUN_FILE = "run/api.json"
"""Where the running node's API is: {url, pid, token_file, pictures_dir, born}; there only while it runs."""


class HomeError(Exception):
    """The home can't be used; the text says why and how to mend it."""


def ensure_restored(home: Path) -> None:
    """Raises HomeError if it is not yet whole again."""
    if (home / RESTORING_DIR).exists():
        raise HomeError(f"a restore of {home} was cut off: run the same `meshgen restore` again")


def home_version(home: Path, newest: int = HOME_VERSION) -> int:
    """Raises HomeError if it can't be read, or is newer than ``newest``."""
    file = home / VERSION_FILE
    try:
        text = file.read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # whoever goes on says that it can't be used
        return 1
    except (OSError, ValueError) as error:
        raise HomeError(f"{file} can't be read: {error}") from None
    version = int(text) if text.isdigit() and len(text) < 10 else 0
    if not version:
        raise HomeError(f"{file} holds no version: a number is expected, such as {HOME_VERSION}")
    if version > newest:
        raise HomeError(
            f"{home} is of version {version}, made by a newer meshgen; this one reads up to {newest}."
            " Use the newer one, or another home: nothing here was touched"
        )
    return version


def read_account(home: Path) -> bytes:
    """The account that this home was made for; b"" if none was named. Raises ValueError if the file is damaged."""
    words = _account_words(home)
    if not words:
        return b""
    try:
        account = bytes.fromhex(words[0])
    except ValueError:
        account = b""
    if len(account) != 32:
        raise ValueError(f"{home / ACCOUNT_FILE} holds no account's id (64 hex digits); mend it, or remove it")
    return account


def read_kin(home: Path) -> bytes:
    """The public key of a device that is in that account; b"" if none was named, or not well."""
    from meshgen.identity import public_key_of  # here, as most who ask for a home need no cryptography

    try:
        return public_key_of("".join(_account_words(home)[1:2]))
    except ValueError:
        return b""


def _account_words(home: Path) -> list[str]:
    try:
        return (home / ACCOUNT_FILE).read_text("ascii").split() or [""]
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        return [""]


def home_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of this node's key, logs, models and state: ``MESHGEN_HOME``, else the platform's data directory."""
    if given := environment.get("MESHGEN_HOME"):
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("meshgen", appauthor=False)
