"""Whole meshes in memory; see :mod:`meshgen.testing`."""

from meshgen.testing.mesh import EPOCH_MS, NET, VirtualMesh, identity, net_mkudos, now_ms, pictures_of, virtual_mesh

__all__ = ["EPOCH_MS", "NET", "VirtualMesh", "identity", "net_mkudos", "now_ms", "pictures_of", "virtual_mesh"]
