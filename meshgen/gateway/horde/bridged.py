"""AI Horde's own workers that fetch jobs at this node, by the names that they give themselves."""

from __future__ import annotations

from typing import Any

from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.names import uuid_of
from meshgen.gateway.horde.people import People

_TYPES = {"alchemy": "interrogation"}
_ABILITIES = ("img2img", "painting", "lora", "controlnet")
_NOUNS = {"image": "megapixelsteps", "text": "tokens"}


def bridged_workers(node: NodeFace, people: People) -> list[dict[str, Any]]:
    """WorkerDetails. What they earn is the owner's."""
    rows = node.bridge.workers() if node.bridge else []
    return [_details(row, uuid_of(f"{node.peer_id}/{row['kind']}/{row['name']}"), people.owner.username) for row in rows]


def _details(row: dict[str, Any], worker_id: str, owner: str) -> dict[str, Any]:
    kind = _TYPES.get(row["kind"], row["kind"])
    kudos = row["mkudos"] / 1000
    return {
        "type": kind,
        "name": row["name"],
        "id": worker_id,
        "online": True,
        "requests_fulfilled": row["done"],
        "kudos_rewards": kudos,
        "kudos_details": {"generated": kudos, "uptime": None},
        "performance": _performance(kind, row["speed"]),
        "threads": row["threads"],
        "uptime": 0,
        "maintenance_mode": False,
        "paused": False,
        "nsfw": row["nsfw"],
        "owner": owner,
        "trusted": True,
        "flagged": False,
        "uncompleted_jobs": 0,
        "team": {"name": None, "id": None},
        "bridge_agent": row["agent"] or "unknown:0:unknown",
        "forms" if kind == "interrogation" else "models": row["models"],
    } | _abilities(kind, row)


def _performance(kind: str, speed: float) -> str:
    return f"{speed:.1f} {_NOUNS[kind]} per second" if speed and kind in _NOUNS else "No requests fulfilled yet"


def _abilities(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    if kind == "text":
        return {"max_length": row["max_tokens"], "max_context_length": row["max_context"], "tokens_generated": 0}
    if kind == "interrogation":
        return {}
    able = {name: name in row["allows"] for name in _ABILITIES}
    more = {"max_pixels": row["max_pixels"], "megapixelsteps_generated": 0, "post-processing": "post-processing" in row["allows"]}
    return able | more | {"sdxl_controlnet": able["controlnet"]}
