"""A vast.ai on loopback: the routes, bodies and errors of its API, over an account in memory."""

from __future__ import annotations

import asyncio
import json
import operator
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

KEY = "the-key-of-the-account"
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "lte": operator.le,
    "gte": operator.ge,
    "in": lambda there, listed: there in listed,
}
PAGE = 25


class Account:
    """Offers, instances, names of environment variables, and what goes wrong.

    `trouble` says so by the number of an offer or an instance, or by a route (`GET instances`): `"429"` always,
    `"once 500"` the first time. Every call is added to `calls`.
    """

    def __init__(self) -> None:
        self.url = ""
        self.lock = threading.Lock()
        self.calls: list[tuple[str, str, Any]] = []
        self.state: dict[str, Any] = {
            "offers": [],
            "instances": [],
            "secrets": {"DATABASE_URL": "*****", "GEMINI_API_KEY": "*****"},
            "trouble": {},
            "destroyed": [],
            "next_id": 7835600,
        }

    def read(self) -> dict[str, Any]:
        return self.state

    def write(self, **changes: Any) -> None:
        with self.lock:
            self.state |= changes

    def set(self, number: int, **changes: Any) -> None:
        rows = self.state["instances"]
        self.write(instances=[{**row, **changes} if row["id"] == number else row for row in rows])

    def bodies(self, method: str, route: str) -> list[Any]:
        return [body for sent, path, body in self.calls if sent == method and path.startswith(route)]

    def bought(self) -> Counter[int]:
        """How often each offer was asked for."""
        return Counter(int(path.split("/")[4]) for method, path, _body in self.calls if "/asks/" in path)

    @property
    def running(self) -> dict[str, int]:
        rows = [row for row in self.state["instances"] if row["actual_status"] == "running"]
        assert len({row["label"] for row in rows}) == len(rows), "a place was rented for twice"
        return {row["label"]: row["id"] for row in rows}

    # ------------------------------------------------------------------------- the service

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text() or "null")
        with self.lock:
            self.calls.append((request.method, request.path_qs, body))
            if request.headers.get("Authorization") != f"Bearer {KEY}":
                return refuse(401, "auth_error", "Invalid user key")
            parts = request.path.strip("/").split("/")[2:]
            trouble = self.take(f"{request.method} {parts[0]}") or self.take(
                parts[1] if len(parts) > 1 else ""
            )
            if trouble.isdigit():
                return failure(int(trouble))
            reply = self.answer(request, parts, body, trouble)
        if trouble == "reply lost":
            assert request.transport is not None
            request.transport.abort()
        return reply

    def take(self, name: str) -> str:
        trouble: str = self.state["trouble"].get(name, "")
        if trouble.startswith("once "):
            del self.state["trouble"][name]
        return trouble.removeprefix("once ")

    def answer(self, request: web.Request, parts: list[str], body: Any, trouble: str) -> web.Response:
        match request.method, parts:
            case "POST", ["bundles"]:
                return self.search(body)
            case "PUT", ["asks", number]:
                return self.rent(int(number), body, trouble)
            case "GET", ["instances"]:
                return self.page(request.query.get("after_token", ""))
            case "DELETE", ["instances", number]:
                return self.destroy(int(number), trouble)
            case "GET", ["secrets"]:
                return web.json_response({"success": True, "secrets": self.state["secrets"]})
            case (("POST" | "PUT"), ["secrets"]):
                if (body["key"] in self.state["secrets"]) != (request.method == "PUT"):
                    return refuse(400, "invalid_args", "the variable is there, or is not")
                self.state["secrets"][body["key"]] = "*****"
                return web.json_response({"success": True})
        return web.Response(status=404, text="404: Not Found")

    def search(self, body: dict[str, Any]) -> web.Response:
        bid = body["type"] == "bid"
        rows = [{**row, "dph_total": row["min_bid"]} if bid else row for row in self.state["offers"]]
        filters = {name: wanted for name, wanted in body.items() if isinstance(wanted, dict)}
        found = [row for row in rows if all(fits(row, name, wanted) for name, wanted in filters.items())]
        ((column, direction),) = body["order"]
        assert direction == "asc"
        found.sort(key=lambda row: float(row[column]))
        return web.json_response({"offers": found[: body["limit"]], "success": True})

    def rent(self, number: int, body: dict[str, Any], trouble: str) -> web.Response:
        offer = next((row for row in self.state["offers"] if row["id"] == number), None)
        if offer is None or not offer["rentable"] or trouble == "gone":
            if offer is not None:
                offer["rentable"] = False
            text = f"error 404/3603: no_such_ask Instance type by id {number} is not available."
            return refuse(404, "invalid_args", text, ask_id=number)
        if trouble == "not mine":
            return refuse(403, "invalid_args", "error 403/3586: Offer is not your own.", ask_id=number)
        if trouble == "no credit":
            return refuse(400, "insufficient_credit", "Your account lacks credit; see the billing page.")
        offer["rentable"] = False
        self.state["next_id"] += 1
        died = "Error response from daemon: no space left on device" if trouble == "dies" else ""
        self.state["instances"].append(
            {
                "id": self.state["next_id"],
                "machine_id": offer["machine_id"],
                "label": body["label"],
                "actual_status": "exited" if died else "running",
                "intended_status": "running",
                "cur_state": "running",
                "status_msg": died or "success",
                "gpu_name": offer["gpu_name"],
                "num_gpus": 1,
                "dph_total": offer["dph_total"],
                "start_date": time.time() - 5,
                "image_uuid": body["image"],
                "image_args": body["args"],
                "extra_env": [[name, value] for name, value in body["env"].items()],
                "a_field_of_next_year": {"nested": [1, 2]},
            }
        )
        return web.json_response({"success": True, "new_contract": self.state["next_id"]})

    def page(self, after: str) -> web.Response:
        rows = sorted(self.state["instances"], key=lambda row: int(row["id"]))
        rest = [row for row in rows if row["id"] > int(after or 0)]
        token = str(rest[PAGE - 1]["id"]) if len(rest) > PAGE else None
        return web.json_response(
            {"success": True, "instances": rest[:PAGE], "next_token": token, "total_instances": len(rows)}
        )

    def destroy(self, number: int, trouble: str) -> web.Response:
        if trouble == "kept":  # taken, and not done
            return web.json_response({"success": True})
        if not any(row["id"] == number for row in self.state["instances"]):
            return refuse(404, "not_found", f"Instance {number} not found")
        self.state["instances"] = [row for row in self.state["instances"] if row["id"] != number]
        self.state["destroyed"].append(number)
        return web.json_response({"success": True})


def fits(row: dict[str, Any], name: str, wanted: dict[str, Any]) -> bool:
    return all(COMPARE[sign](row[name], value) for sign, value in wanted.items())


def refuse(status: int, error: str, message: str, **more: object) -> web.Response:
    return web.json_response({"success": False, "error": error, "msg": message, **more}, status=status)


def failure(status: int) -> web.Response:
    if status == 429:
        return web.Response(status=429, text="API requests too frequent: endpoint threshold=3.0")
    if status >= 500:
        return web.Response(status=status, text="<html>Bad Gateway</html>", content_type="text/html")
    return refuse(status, "invalid_args", "please wait")


@contextmanager
def a_vast() -> Iterator[Account]:
    """The service on a thread of its own, so that tests with and without a loop reach it."""
    account, loop, stop = Account(), asyncio.new_event_loop(), asyncio.Event()
    ready = threading.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", account.handle)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        account.url = f"http://{host}:{port}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield account
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
