"""One open page: sends the frames of its visible tiles, and the state of everything, over one WebSocket."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from live_cam.viewers.web.broadcast import Broadcast
from live_cam.viewers.web.hub import Hub

_STATUS_SECONDS = 0.5
_MAX_TILES = 64
_POLICY_VIOLATION = 1008


class _Tile:
    """A source that the page shows: what was sent, and whether it was painted."""

    def __init__(self, broadcast: Broadcast) -> None:
        self.broadcast = broadcast
        self.sent = 0
        self.is_painted = True
        self.watching = ExitStack()

    @property
    def is_due(self) -> bool:
        return self.is_painted and self.broadcast.newest[0] > self.sent


class LivePage:
    """Serves one page until it is closed. One frame of each tile is under way; a slow page gets fewer, newer ones.

    Args:
        websocket: Not accepted yet.
        hub: What the server shows.
    """

    def __init__(self, websocket: WebSocket, hub: Hub) -> None:
        self._websocket, self._hub = websocket, hub
        self._tiles: dict[str, _Tile] = {}
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Returns when the page or the server ends the connection."""
        await self._websocket.accept()
        tasks = [asyncio.create_task(work()) for work in (self._receive, self._send_frames, self._send_status)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not isinstance(task.exception(), WebSocketDisconnect | None):
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._watch([])

    async def _receive(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                self._take(json.loads(message["text"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                await self._websocket.close(_POLICY_VIOLATION, "not a message of livecam's page")
                return

    def _take(self, message: dict[str, Any]) -> None:
        """Does what the page asks for.

        Raises:
            ValueError, KeyError or TypeError: It is no message of livecam's page.
        """
        if message["type"] == "watch":
            sources = message["sources"]
            if not isinstance(sources, list) or len(sources) > _MAX_TILES:
                raise ValueError("too many sources")
            self._watch([str(source_id) for source_id in sources])
        elif message["type"] == "painted":
            tile = self._tiles.get(message["source"])
            if tile is not None and message["number"] == tile.sent:
                tile.is_painted = True
        else:
            raise ValueError("unknown message")
        self._changed.set()

    def _watch(self, source_ids: list[str]) -> None:
        for source_id in self._tiles.keys() - set(source_ids):
            self._tiles.pop(source_id).watching.close()
        for source_id in dict.fromkeys(source_ids):
            source = self._hub.source(source_id)
            if source is not None and source_id not in self._tiles:
                tile = self._tiles[source_id] = _Tile(source.live)
                tile.watching.enter_context(source.live.watched(self._changed.set))

    async def _send_frames(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for tile in list(self._tiles.values()):
                if tile.is_due:
                    tile.sent, message = tile.broadcast.newest
                    tile.is_painted = False
                    await self._websocket.send_bytes(message)

    async def _send_status(self) -> None:
        sent: dict[str, Any] | None = None
        while True:
            status = self._hub.status()
            if status != sent:
                await self._websocket.send_text(json.dumps({"type": "status", **status}))
                sent = status
            await asyncio.sleep(_STATUS_SECONDS)
