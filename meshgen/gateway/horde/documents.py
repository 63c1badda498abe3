"""What a client shows its user of privacy and terms: here the truth about this node, in short."""

from __future__ import annotations

from html import escape
from typing import Literal

from fastapi import APIRouter

from meshgen.gateway.horde.faults import PREFIX

Name = Literal["privacy", "terms", "sponsors"]
Format = Literal["html", "markdown"]

DOCUMENTS = {
    "privacy": "Your prompt and pictures go from this node, encrypted, to the worker that is paid for your job and to "
    "nobody else, and that worker can read them. "
    "Who paid whom, when and how much is written into logs that all peers of the mesh may read; "
    "what was asked for is not.",
    "terms": "This node belongs to whoever runs it, and there is no operator besides. Each worker's owner decides which work it "
    "takes; the mesh's charter says what they have agreed upon.",
    "sponsors": "Nobody sponsors this node.",
}


def document_routes() -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/documents", tags=["AI Horde: status"])

    @routes.get("/{name}")
    async def document(name: Name, format: Format = "html") -> dict[str, str]:
        text = DOCUMENTS[name]
        return {"markdown": text} if format == "markdown" else {"html": f"<p>{escape(text)}</p>"}

    return routes
