"""Delivery of replies: at once, in drips, in part, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from lipika.simulator.exchange import Delivery, Ending, WholeReply

_DRIPS = 20
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_BAD_GATEWAY = WholeReply(502, _HTML, content_type="text/html")


def page_sent(page: WholeReply, delivery: Delivery) -> WholeReply:
    """The page that really goes out: a proxy may put its own in place of the server's."""
    return _BAD_GATEWAY if delivery.ending is Ending.HTML else page


async def send(request: web.Request, page: WholeReply, delivery: Delivery) -> web.StreamResponse:
    """Send a page in the way it is to be delivered (its delay has passed)."""
    if delivery.ending in (Ending.RESET, Ending.HANG_UP):
        _break_off(request, reset=delivery.ending is Ending.RESET)
        return web.Response(status=500)  # goes nowhere
    if delivery.ending is Ending.CUT:
        return await _stream(request, page, [page.body[: len(page.body) // 2]], 0)
    if delivery.drip_s:
        step = len(page.body) // _DRIPS + 1
        pieces = [page.body[at : at + step] for at in range(0, len(page.body), step)]
        return await _stream(request, page, pieces, delivery.drip_s)
    return response(page)


def response(page: WholeReply) -> web.Response:
    """The page as it is."""
    return web.Response(
        status=page.status, body=page.body, headers=page.headers, content_type=page.content_type
    )


async def _stream(
    request: web.Request, page: WholeReply, pieces: list[bytes], over_s: float
) -> web.StreamResponse:
    """Write a body piece by piece; the connection ends early when the pieces are not all of it."""
    stream = web.StreamResponse(status=page.status, headers=page.headers)
    stream.content_type = page.content_type
    stream.content_length = len(page.body)
    await stream.prepare(request)
    for piece in pieces:
        await stream.write(piece)
        await asyncio.sleep(over_s / len(pieces))
    if sum(map(len, pieces)) < len(page.body):
        _break_off(request, reset=False)
    return stream


def _break_off(request: web.Request, *, reset: bool) -> None:
    """Close the connection at once; as a reset, with what was to be sent thrown away."""
    transport = request.transport
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
