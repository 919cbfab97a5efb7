#!/usr/bin/env python3
"""The command line of vast.ai as tests need it: the same words in, the same JSON out (vastai 1.9), no network.

The account is a JSON file, VAST_FAKE: offers, instances, names of environment variables, and what goes wrong with
which offer, or with giving back which instance: `"429"` always, `"once 500"` the first time. Every call is added to
`calls`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import operator
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

ALIASES = {"dph": "dph_total", "cuda_vers": "cuda_max_good"}
TIMES = {"cpu_ram": 1000.0, "duration": 86400.0}
COMPARE = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}


def main(words: list[str]) -> int:
    with Path(os.environ["VAST_FAKE"]).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        account = json.load(file)
        account["calls"].append(words)
        code = COMMANDS[words[0], words[1]](account, words[2:])
        file.seek(0)
        file.truncate()
        json.dump(account, file)
    return code


def search_offers(account: dict[str, Any], words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("query")
    parser.add_argument("--type")
    parser.add_argument("--storage", type=float)
    parser.add_argument("--order")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--raw", action="store_true")
    options = parser.parse_args(words)
    bid = options.type == "bid"
    rows = [{**row, "dph_total": row["min_bid"]} if bid else row for row in account["offers"]]
    found = [row for row in rows if row["rentable"] and fits(row, options.query)]
    return answer(sorted(found, key=lambda row: row[ALIASES[options.order]])[: options.limit])


def fits(row: dict[str, Any], query: str) -> bool:
    for name, listed in re.findall(r"(\w+) in \[([^\]]*)\]", query):
        if str(row[name]).replace(" ", "_") not in listed.split(","):
            return False
    for name, sign, value in re.findall(r"(\w+)(<=|>=|=)(\S+)", query):
        there = row[ALIASES.get(name, name)]
        wanted = type(there)(value) if isinstance(there, str) else float(value) * TIMES.get(name, 1.0)
        if not COMPARE[sign](there, wanted):
            return False
    return True


def create_instance(account: dict[str, Any], words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("id", type=int)
    for name in ("--image", "--label", "--env", "--onstart-cmd"):
        parser.add_argument(name)
    parser.add_argument("--disk", type=float)
    parser.add_argument("--bid_price", type=float)
    parser.add_argument("--cancel-unavail", action="store_true")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--args", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    offer = next((row for row in account["offers"] if row["id"] == options.id), None)
    trouble = account["trouble"].get(str(options.id), "")
    if offer is None or not offer["rentable"] or trouble == "gone":
        if offer is not None:
            offer["rentable"] = False
        return complain(
            404, f"error 404/3603: no_such_ask Instance type by id {options.id} is not available."
        )
    if trouble == "no credit":
        return complain(400, "Your account lacks credit; see the billing page.")
    offer["rentable"] = False
    account["next_id"] += 1
    account["instances"].append(
        {
            "id": account["next_id"],
            "machine_id": offer["machine_id"],
            "label": options.label,
            "actual_status": {"dies": "exited"}.get(trouble, "running"),
            "intended_status": "running",
            "cur_state": "running",
            "status_msg": {"dies": "Error response from daemon: no space left on device"}.get(
                trouble, "success"
            ),
            "gpu_name": offer["gpu_name"],
            "num_gpus": 1,
            "dph_total": offer["dph_total"],
            "start_date": time.time(),
            "duration": 5.0,
            "image_uuid": options.image,
            "image_args": options.args,
            "extra_env": dict(re.findall(r"-e (\w+)=(\S+)", options.env or "")),
        }
    )
    if trouble == "reply lost":
        print("requests.exceptions.ReadTimeout: HTTPSConnectionPool: Read timed out.", file=sys.stderr)
        return 1
    return answer({"success": True, "new_contract": account["next_id"]})


def show_instances(account: dict[str, Any], words: list[str]) -> int:
    del words
    return answer(account["instances"])


def show_env_vars(account: dict[str, Any], words: list[str]) -> int:
    del words
    return answer(dict.fromkeys(account["secrets"], "*****"))


def destroy_instance(account: dict[str, Any], words: list[str]) -> int:
    number = int(words[0])
    if "--yes" not in words:
        raise EOFError("asks for confirmation")
    trouble = account["trouble"].get(str(number), "")
    if trouble:
        if trouble.startswith("once "):
            del account["trouble"][str(number)]
        status = trouble.removeprefix("once ")
        if status == "kept":  # taken, and not done
            return answer({"success": True})
        return complain(int(status), f"error {status}: please wait")
    if not any(row["id"] == number for row in account["instances"]):
        return complain(404, f"Instance {number} not found.")
    account["instances"] = [row for row in account["instances"] if row["id"] != number]
    account["destroyed"].append(number)
    return answer({"success": True})


def answer(value: object) -> int:
    print(json.dumps(value, indent=1, sort_keys=True))
    return 0


def complain(status: int, message: str) -> int:
    """In --raw mode an error goes to stderr, and the exit code is 0."""
    print(json.dumps({"error": True, "status_code": status, "msg": message}), file=sys.stderr)
    return 0


COMMANDS = {
    ("search", "offers"): search_offers,
    ("create", "instance"): create_instance,
    ("show", "instances"): show_instances,
    ("show", "env-vars"): show_env_vars,
    ("destroy", "instance"): destroy_instance,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
