"""The way in to a machine. Runs inside its network namespace: what comes in on the listening socket FD, which was opened outside,
goes to PORT on the namespace's own loopback. Ends, and with it its hold on the namespace, when its standard input does: with
whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def main(listener: socket.socket, port: int) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inside = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, inside[1]), _pump(inside[0], writer))
        writer.close()

    async with await asyncio.start_server(relay, sock=listener):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
