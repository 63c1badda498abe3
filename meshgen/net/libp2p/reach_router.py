"""What a home's router can be asked for, whatever it speaks."""

from __future__ import annotations

from typing import Protocol


class RouterError(Exception):
    """The router refused, or gave up."""


class Router(Protocol):
    """A gateway that was found. Its methods block, and raise RouterError."""

    def outside(self) -> str: ...

    def forward(self, outside_port: int, inside_port: int, lease_s: int) -> None: ...

    def close(self, outside_port: int) -> None: ...
