"""AI Horde's names for what the mesh has: workers' UUIDs from peer ids, users' numbers from accounts. Both last."""

from __future__ import annotations

import hashlib
import uuid

WORKERS = uuid.UUID("5f0c7a52-4a3b-5d64-9a0e-6d6573686765")
"""The namespace of workers' UUIDs; never to be changed, as clients keep what they were told."""
ANONYMOUS_ID = 0
ANONYMOUS_NAME = "Anonymous#0"
_USERS = b"meshgen/user-id/1\0"


def uuid_of(peer_id: str) -> str:
    return str(uuid.uuid5(WORKERS, peer_id))


def user_id(account: bytes) -> int:
    """From 1 to 2**31 - 1. Two accounts may share one, though hardly within a mesh: what moves credit compares names too."""
    number = int.from_bytes(hashlib.sha256(_USERS + account).digest()[:4], "big") & 0x7FFF_FFFF
    return number or 1


def username(alias: str, account: bytes) -> str:
    """``alias#number``; who has no alias is called by the beginning of the account's id."""
    return f"{alias or account.hex()[:8]}#{user_id(account)}"
