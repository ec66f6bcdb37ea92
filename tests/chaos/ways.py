"""Ways to the broker that can be cut: a TCP proxy for each worker.

A client goes where the listener that it has asked says: a broker behind a way needs a listener of
its own for it, which advertises the way's port.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress

from ader_stream.local_kafka.ports import HOST, free_port

PIECE_BYTES = 2**16


class Way:
    """Forwards what comes at `port` to `door`, a port of the broker's, unless it is cut.

    What was under way when it was cut arrives once it is open again: the late request of a worker
    that others have replaced must do no harm.
    """

    def __init__(self) -> None:
        self.port, self.door = free_port(), free_port()
        self._loop = asyncio.new_event_loop()
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        listens = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listens,), daemon=True)
        self._thread.start()
        listens.wait()

    @property
    def address(self) -> str:
        """What a worker is told to connect to."""
        return f"{HOST}:{self.port}"

    def cut(self) -> None:
        """Let nothing through any more; connections stay open and new ones are not answered."""
        self._loop.call_soon_threadsafe(self._is_whole.clear)

    def correct(self) -> None:
        """Let everything through again."""
        self._loop.call_soon_threadsafe(self._is_whole.set)

    def close(self) -> None:
        """End the proxy with all of its connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, listens: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connect, HOST, self.port))
        listens.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._is_whole.wait()
        with suppress(OSError):  # the broker may be restarting
            from_broker, to_broker = await asyncio.open_connection(HOST, self.door)
            await asyncio.gather(self._pump(reader, to_broker), self._pump(from_broker, writer))
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                await self._is_whole.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()


def listeners(port: int, ways: Sequence[Way]) -> dict[str, str]:
    """Properties of a broker on this machine that listens at a port and behind each of the ways."""
    controller = free_port()
    doors = [(f"WAY{number}", way) for number, way in enumerate(ways)]
    names = ["PLAINTEXT", "CONTROLLER", *(name for name, _ in doors)]
    own = f"PLAINTEXT://{HOST}:{port}"
    behind = [f"{name}://{HOST}:{way.door}" for name, way in doors]
    advertised = [f"{name}://{HOST}:{way.port}" for name, way in doors]
    return {
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": ",".join([own, f"CONTROLLER://{HOST}:{controller}", *behind]),
        "advertised.listeners": ",".join([own, *advertised]),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
    }
