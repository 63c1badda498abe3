"""Nodes as processes, each on a machine of its own in a :class:`~tests.netns.world.World`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from meshgen.cli.client import Api
from meshgen.cli.local_mesh import LocalMesh, LocalNode
from tests.netns.world import API_PORT, World

MESH_PORT = 4711


class SpreadMesh(LocalMesh):
    """Each node on the machine of its name."""

    def __init__(self, root: Path, charter: str, world: World) -> None:
        super().__init__(root, charter)
        self.world = world

    def launch(self, name: str, *roles: str, through: LocalNode | None = None, **settings: Any) -> LocalNode:
        given = {"mesh__listen": f"/ip4/0.0.0.0/tcp/{MESH_PORT}", "api__port": API_PORT} | settings
        return super().launch(name, *roles, through=through, **given)

    def command(self, name: str) -> list[str]:
        return [*self.world.enter(name), *super().command(name)]

    def reach(self, node: LocalNode) -> Api:
        found = Api.of(node.home)
        return Api(replace(found.info, url=self.world[node.name].api), Path(found.info.token_file).read_text())
