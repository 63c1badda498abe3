"""Workers: the peers of the mesh that work for others, this node among them, as AI Horde describes a worker.

What others say of themselves is in their adverts; what they have done is known of the work that they did for this node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.figures import Figures
from meshgen.gateway.horde.names import uuid_of
from meshgen.gateway.horde.people import People
from meshgen.protocols.advert import NO_NSFW, NO_POST

WorkerType = Literal["image", "text", "interrogation"]
TYPES: tuple[WorkerType, ...] = ("image", "text", "interrogation")
DEFAULT_TOKENS = 512
"""Adverts do not tell how long a text may be: this is what a worker does unless its owner says otherwise..."""
DEFAULT_CONTEXT = 2048
"""...and clients cut their prompts by this where nothing is told, so it must not be 0."""
_FAMILIES: dict[str, WorkerType] = {"text": "text", "alchemy": "interrogation"}


@dataclass(frozen=True, slots=True)
class CrewMember:
    """``row`` is as in NodeFace.peers. ``offers`` are names of models and forms by type, in the order of TYPES."""

    row: dict[str, Any]
    offers: dict[WorkerType, list[str]]
    context: int = 0
    """Tokens, of the text model that reads most; 0 = not told."""
    own: bool = False

    @property
    def peer(self) -> str:
        return str(self.row["peer_id"])

    @property
    def id(self) -> str:
        return uuid_of(self.peer)

    @property
    def name(self) -> str:
        return str(self.row["alias"] or self.peer[-8:])

    @property
    def type(self) -> WorkerType:
        """The first of its types."""
        for kind in self.offers:
            return kind
        return "image"

    @property
    def paused(self) -> bool:
        return "paused" in self.row["policies"]


class Crew:
    def __init__(self, node: NodeFace, people: People, figures: Figures) -> None:
        self._node, self._people, self._figures = node, people, figures

    def members(self) -> list[CrewMember]:
        """This node first."""
        mesh = {row["name"]: row for row in self._node.models()["mesh"]}
        own = [_member(row, mesh, own=True) for row in self._own_rows()]
        return own + [_member(row, mesh) for row in self._node.peers() if "worker" in row["roles"]]

    def by_id(self, worker_id: str) -> CrewMember | None:
        return next((member for member in self.members() if member.id == worker_id), None)

    def by_name(self, name: str) -> CrewMember | None:
        """Names are not unique: the first that has it."""
        return next((member for member in self.members() if member.name.casefold() == name.casefold()), None)

    def details(self, member: CrewMember, as_type: WorkerType | None = None) -> dict[str, Any]:
        """WorkerDetails. A peer may be of several types: of the first one, unless another is asked for."""
        kind = as_type or member.type
        row, owner = member.row, self._people.of_worker(member.peer)
        done = self._figures.of_worker(member.peer, kind)
        own = (self._node.status().get("worker") or {}) if member.own else {}
        earned = self._people.balance(member.peer)["earned_mkudos"] / 1000
        offered = {"forms" if kind == "interrogation" else "models": member.offers.get(kind, [])}
        return (
            {
                "type": kind,
                "name": member.name,
                "id": member.id,
                "online": True,
                "requests_fulfilled": max(done.count, own.get("pictures", 0)),
                "kudos_rewards": earned,
                "kudos_details": {"generated": earned, "uptime": None},
                "performance": done.performance(kind),
                "threads": row["slots"],
                "uptime": self._node.status().get("uptime_s", 0) if member.own else 0,
                "maintenance_mode": member.paused,
                "paused": False,
                "nsfw": NO_NSFW not in row["policies"],
                "owner": owner.username if owner else None,
                "trusted": True,
                "flagged": False,
                "uncompleted_jobs": own.get("failed", 0),
                "team": {"name": None, "id": None},
                "bridge_agent": _bridge_agent(row.get("agent", "")),
            }
            | offered
            | _abilities(kind, member, done.units)
        )

    def _own_rows(self) -> Iterator[dict[str, Any]]:
        overseer, status = self._node.overseer, self._node.status()
        if overseer is None:
            return
        state, worker = overseer.state(), status.get("worker") or {}
        rules = state["rules"]
        yield {
            "peer_id": self._node.peer_id,
            "alias": status["alias"],
            "agent": f"meshgen/{status.get('version', '')}",
            "roles": ["worker"],
            "models": state["models"],
            "policies": ["paused"] * bool(state["paused"]) + [f"no-{word}" for word in rules.get("declines", ())],
            "queued": worker.get("queued", state["jobs"]),
            "slots": rules.get("slots", 1),
            "max_pixels": rules.get("max_pixels", 0),
            "max_tokens": rules.get("max_tokens", DEFAULT_TOKENS),
        }


def _bridge_agent(agent: str) -> str:
    """``name/version`` as AI Horde writes it: name, version, where from."""
    name, _, version = agent.partition("/")
    return f"{name or 'meshgen'}:{version or 'unknown'}:unknown"


def _member(row: dict[str, Any], mesh: dict[str, dict[str, Any]], *, own: bool = False) -> CrewMember:
    """``mesh``: the rows of NodeFace.models by name."""
    known = {name: mesh.get(name, {}) for name in row["models"]}
    types = {name: _FAMILIES.get(model.get("family", ""), "image") for name, model in known.items()}
    offers: dict[WorkerType, list[str]] = {kind: [name for name in known if types[name] == kind] for kind in TYPES}
    context = max((model.get("context", 0) for model in known.values()), default=0)
    return CrewMember(row, {kind: names for kind, names in offers.items() if names}, context, own)


def _abilities(kind: WorkerType, member: CrewMember, units: float) -> dict[str, Any]:
    row, declines = member.row, member.row["policies"]
    if kind == "text":
        most = row.get("max_tokens", DEFAULT_TOKENS)
        return {"max_length": most, "max_context_length": member.context or DEFAULT_CONTEXT, "tokens_generated": round(units)}
    if kind == "interrogation":
        return {}
    words = {"img2img": "img2img", "painting": "inpainting", "lora": "lora", "controlnet": "controlnet"}
    able = {name: f"no-{word}" not in declines for name, word in words.items()}
    return {
        "max_pixels": row.get("max_pixels", 0),
        "megapixelsteps_generated": round(units),
        "post-processing": NO_POST not in declines,
        "sdxl_controlnet": able["controlnet"],
    } | able
