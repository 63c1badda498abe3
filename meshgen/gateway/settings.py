"""Routes under /v1/settings: what is set, what each key means, and changes, which land in the file that people edit."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from meshgen.gateway.bodies import Body
from meshgen.gateway.errors import ApiError
from meshgen.gateway.face import NodeFace
from meshgen.settings import LIVE, Settings, SettingsError, Source, dotted

MAX_CHANGES = 100
FILE_ONLY = "api."


class ChangesBody(Body):
    changes: dict[str, Any] = Field(min_length=1, max_length=MAX_CHANGES, description='by dotted keys: {"worker.max_steps": 50}')


def settings_routes(node: NodeFace) -> APIRouter:
    routes = APIRouter(prefix="/v1/settings", tags=["settings"])

    @routes.get("")
    async def show() -> dict[str, Any]:
        """As they would be after a new start. ``decided``: what environment or command line set, whatever the file says."""
        source = _source(node)
        settings = _loaded(source)
        return {
            "file": str(source.file),
            "settings": dotted(settings),
            "decided": {key: layer for key in dotted(settings) if (layer := source.decided(key))},
            "keys": _keys(),
        }

    @routes.patch("")
    async def change(body: ChangesBody) -> dict[str, Any]:
        """All of them or none. ``live`` are in force at once, ``restart`` from the next start on."""
        source = _source(node)
        if unknown := next((key for key in body.changes if key not in dotted(Settings())), None):
            raise ApiError(422, "unknown_key", f"there is no setting {unknown[:80]!r}", unknown[:80])
        if kept := next((key for key in body.changes if key.startswith(FILE_ONLY)), None):
            raise ApiError(422, "file_only", f"{kept} decides who may reach this API: set it in {source.file}", kept)
        try:
            settings = source.write(body.changes)
        except SettingsError as error:
            raise ApiError(422, "bad_settings", str(error)) from None
        except OSError as error:
            raise ApiError(500, "home", f"{source.file} can't be written: {error.strerror}") from None
        node.follow_settings(settings)
        decided = [key for key in body.changes if source.decided(key)]
        live = [key for key in body.changes if key in LIVE and key not in decided]
        restart = [key for key in body.changes if key not in LIVE and key not in decided]
        return {"live": live, "restart": restart, "decided": decided, "settings": dotted(settings)}

    return routes


def _source(node: NodeFace) -> Source:
    if node.settings_source is None:
        raise ApiError(409, "no_file", "this node was started without a config file")
    return node.settings_source


def _loaded(source: Source) -> Settings:
    try:
        return source.load()
    except SettingsError as error:
        raise ApiError(409, "bad_settings", str(error)) from None


def _keys() -> dict[str, dict[str, Any]]:
    """Meaning, default and bounds of each, as JSON schema has them."""
    schema = Settings.model_json_schema()
    found: dict[str, dict[str, Any]] = {}
    for section, part in schema["properties"].items():
        group = schema["$defs"].get(part.get("$ref", "").rpartition("/")[2], {})
        for name, key in group.get("properties", {}).items():
            found[f"{section}.{name}"] = key | {"live": f"{section}.{name}" in LIVE}
    return found
