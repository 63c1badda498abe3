"""What a node tells the service manager that started it (systemd's sd_notify): ready, stopping, alive, and a line on how it is.

Nothing happens where no manager listens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress

import trio

STATUS_S = 60.0


def tell(**state: str) -> None:
    """``READY="1"``, ``STATUS="a line"``: one datagram to NOTIFY_SOCKET. A manager that went away is no fault of ours."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in state.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)  # a manager that is busy is told the next time
        manager.connect("\0" + address[1:] if address.startswith("@") else address)
        manager.send(text.encode())


async def keep_telling(status: Callable[[], str]) -> None:
    """Alive, twice in the time that the manager waits for it; from the node's own loop, so that a node that hangs is silent."""
    while os.environ.get("NOTIFY_SOCKET"):
        tell(WATCHDOG="1", STATUS=status())
        await trio.sleep(_interval_s())


def _interval_s() -> float:
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 2e6 if mine and given.isdigit() and int(given) else STATUS_S
