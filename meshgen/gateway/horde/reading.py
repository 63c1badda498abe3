"""All of AI Horde's API that is no work: what is to be read, accounts, keys."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter

from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.crew import Crew
from meshgen.gateway.horde.desk import Desk
from meshgen.gateway.horde.documents import document_routes
from meshgen.gateway.horde.figures import Figures
from meshgen.gateway.horde.lists import list_routes
from meshgen.gateway.horde.people import People
from meshgen.gateway.horde.roles import role_routes
from meshgen.gateway.horde.shared_keys import shared_key_routes
from meshgen.gateway.horde.stats import stats_routes
from meshgen.gateway.horde.status import status_routes
from meshgen.gateway.horde.transfers import transfer_routes
from meshgen.gateway.horde.users import user_routes
from meshgen.gateway.horde.workers import worker_routes
from meshgen.gateway.keys import KeyRing

WORK = {"text": "text", "image": "image", "form": "alchemy"}
"""UserActiveGenerations' words for kinds of requests."""


def reading_routes(node: NodeFace, keys: KeyRing, desk: Desk) -> Iterator[APIRouter]:
    people, figures = People(node), Figures(node)
    crew = Crew(node, people, figures)

    def privileged() -> dict[str, object]:
        under_way = {word: [asked.id for asked in desk.open() if asked.kind == kind] for kind, word in WORK.items()}
        return {"sharedkey_ids": [key.id for key in keys.shared()], "active_generations": under_way}

    yield status_routes(node, keys, crew, figures)
    yield stats_routes(keys, figures)
    yield user_routes(node, keys, people, figures, privileged)
    yield worker_routes(node, keys, crew, people)
    yield shared_key_routes(people, keys)
    yield transfer_routes(node, keys, people)
    yield document_routes()
    yield list_routes()
    yield role_routes(keys)
