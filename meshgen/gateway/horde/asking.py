"""All by which work is asked for."""

from __future__ import annotations

from fastapi import APIRouter

from meshgen.gateway.callers import Keys
from meshgen.gateway.face import NodeFace
from meshgen.gateway.horde.desk import Desk
from meshgen.gateway.horde.forms import form_routes
from meshgen.gateway.horde.images import image_routes
from meshgen.gateway.horde.intake import Intake
from meshgen.gateway.horde.pictures import picture_routes
from meshgen.gateway.horde.sources import Sources
from meshgen.gateway.horde.texts import text_routes


def asking_routes(node: NodeFace, keys: Keys, desk: Desk, sources: Sources | None = None) -> tuple[APIRouter, ...]:
    intake, sources = Intake(node, keys, desk), sources or Sources()
    return (
        image_routes(intake, sources),
        text_routes(intake),
        form_routes(intake, sources),
        picture_routes(desk.pictures, desk.picture),
    )
