"""Vectors need sealed bytes that don't change."""

from meshgen.testing.hpke import hpke_seal

__all__ = ["hpke_seal"]
