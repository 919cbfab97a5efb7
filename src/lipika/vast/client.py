"""vast.ai as its official command line shows it: offers, instances, renting, destroying. One call, one subprocess.

Formats as of vastai 1.9. With --raw it prints JSON on stdout; what goes wrong is a JSON object on stderr, with exit
code 0: no output is an error.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from lipika.errors import LipikaError, Unavailable, UsageError
from lipika.log import redact

_CALL_S = 180.0
_GB_DOWN_PER_HOUR = 10.0
"""Archives read by a worker at 1,000 clips a minute of 8 s: 164 KB each."""
_GB_UP_PER_HOUR = 23.0
"""The same clips as base64 to the model, and once more in result archives."""


class VastRefused(LipikaError):
    """vast.ai said no: an offer that is gone, no credit, a wrong key."""


class VastGone(VastRefused):
    """There is no such thing, or no longer."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A machine that is looked for, and its work. Prices in US dollars an hour, network in Mbit/s, sizes in GB."""

    image: str
    command: tuple[str, ...] = ("worker", "--json-logs")
    settings: Mapping[str, str] = field(default_factory=dict)  # no secrets: they would show in `ps`
    max_usd_hour: float = 0.30
    gpus: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    min_reliability: float = 0.98
    min_down: float = 300.0
    min_up: float = 300.0
    min_cores: float = 4.0
    min_ram: float = 8.0
    min_days: float = 4.0
    min_cuda: float = 0.0
    disk: float = 40.0
    interruptible: bool = False

    def query(self) -> str:
        """In the words of `vastai search offers`."""
        wanted = [
            "num_gpus=1",
            f"dph<={self.max_usd_hour:g}",
            f"reliability>={self.min_reliability:g}",
            f"inet_down>={self.min_down:g}",
            f"inet_up>={self.min_up:g}",
            f"cpu_cores_effective>={self.min_cores:g}",
            f"cpu_ram>={self.min_ram:g}",
            f"disk_space>={self.disk:g}",
            f"duration>={self.min_days:g}",
            "cpu_arch=amd64",
        ]
        if self.min_cuda:
            wanted.append(f"cuda_vers>={self.min_cuda:g}")
        if self.gpus:
            wanted.append(f"gpu_name in [{','.join(name.replace(' ', '_') for name in self.gpus)}]")
        if self.countries:
            wanted.append(f"geolocation in [{','.join(self.countries)}]")
        return " ".join(wanted)


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine for rent."""

    id: int
    machine_id: int
    gpu: str
    usd_hour: float
    usd_traffic: float  # an hour, at the traffic of a busy worker
    min_bid: float
    reliability: float
    down: float  # Mbit/s
    up: float
    place: str

    @property
    def usd_busy(self) -> float:
        """The cost of an hour of work: many hosts charge more for traffic than for the machine."""
        return self.usd_hour + self.usd_traffic


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine that is rented. `status` is the container's: None while it is provisioned."""

    id: int
    machine_id: int
    label: str
    status: str | None
    intended: str
    gpu: str
    usd_hour: float
    age_s: float
    message: str


class Vast:
    """The command `vastai`, with the key that it keeps itself (`vastai set api-key`) or takes from VAST_API_KEY."""

    def __init__(self, program: str = "vastai") -> None:
        self._program = program

    def offers(self, wish: Wish, limit: int) -> list[Offer]:
        """Offers within the wish, those first whose hour of work is cheapest."""
        kind = "bid" if wish.interruptible else "on-demand"
        found = self._json(
            *("search", "offers", wish.query(), "--type", kind, "--storage", f"{wish.disk:g}"),
            *("--order", "dph", "--limit", str(limit), "--raw"),
        )
        offers = [_offer(row, wish) for row in _rows(found)]
        within = [offer for offer in offers if 0 < offer.usd_hour <= wish.max_usd_hour]
        return sorted(within, key=lambda offer: (offer.usd_busy, offer.id))

    def instances(self) -> list[Instance]:
        """All instances of the account."""
        return [_instance(row) for row in _rows(self._json("show", "instances", "--raw"))]

    def secrets(self) -> set[str]:
        """Names of the account's environment variables, which vast.ai gives to every container."""
        found = self._json("show", "env-vars", "--raw")
        return {str(name) for name in found} if isinstance(found, dict) else set()

    def rent(self, offer: Offer, label: str, wish: Wish) -> int:
        """Rent an offer; returns the instance's number.

        Raises:
            VastRefused: not to be had.
            Unavailable: no telling whether it was rented.
        """
        bid = (
            ("--bid_price", f"{min(offer.min_bid * 1.15, wish.max_usd_hour):.4f}")
            if wish.interruptible
            else ()
        )
        answer = self._json(
            *("create", "instance", str(offer.id), "--image", wish.image, "--label", label),
            *("--disk", f"{wish.disk:g}", "--env", _docker_options(wish.settings), "--cancel-unavail", *bid),
            *("--raw", "--args", *wish.command),
        )
        if not isinstance(answer, dict) or not answer.get("success") or "new_contract" not in answer:
            raise VastRefused(f"offer {offer.id}: {_message_of(answer)}")
        return int(answer["new_contract"])

    def destroy(self, instance: int) -> None:
        """Give an instance back, with all that lies on it; one that is gone is as good as given back.

        Raises:
            VastRefused: it stays.
            Unavailable: no telling whether it is gone.
        """
        try:
            answer = self._json("destroy", "instance", str(instance), "--yes", "--raw")
        except VastGone:
            return
        if not isinstance(answer, dict) or not answer.get("success"):
            raise VastRefused(f"instance {instance}: {_message_of(answer)}")

    def _json(self, *words: str) -> Any:
        text, complaint = self._call(*words)
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise _refusal_in_raw_mode(words, complaint or text) from None
        if isinstance(found, dict) and found.get("error") is True:
            raise _refusal_in_raw_mode(words, orjson.dumps(found).decode())
        return found

    def _call(self, *words: str) -> tuple[str, str]:
        try:
            done = subprocess.run(  # noqa: S603 - no shell; the words hold no secret
                [self._program, *words], capture_output=True, text=True, timeout=_CALL_S, check=False
            )
        except FileNotFoundError:
            raise UsageError(
                f"the command {self._program} is missing: pip install vastai, then vastai set api-key KEY"
            ) from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"vastai {' '.join(words[:2])} did not end within {_CALL_S:.0f} s") from None
        if done.returncode != 0:
            raise Unavailable(
                f"vastai {' '.join(words[:2])} failed: {_last_line(done.stderr or done.stdout)}"
            )
        return done.stdout.strip(), done.stderr.strip()


def settings_fit(settings: Mapping[str, str]) -> None:
    """Refuse values that vastai's own splitting of --env would tear apart.

    Raises:
        UsageError: names the setting.
    """
    for name, value in settings.items():
        if any(character in value for character in " '\"\n\t"):
            raise UsageError(
                f"{name}: vastai cannot pass on a value with blanks or quotes; set it in the account"
            )


def _docker_options(settings: Mapping[str, str]) -> str:
    return " ".join(f"-e {name}={value}" for name, value in settings.items())


def _refusal_in_raw_mode(words: Sequence[str], complaint: str) -> LipikaError:
    """The refusal in stderr in --raw mode: `{"error": true, "status_code": 404, "msg": ...}`."""
    said = _complaint(complaint)
    what = " ".join(words[:3] if words[0] in {"create", "destroy"} else words[:2])
    reason = redact(str(said.get("msg") or "nothing came back"))
    code = said.get("status_code")
    if code in {401, 403}:
        return UsageError(f"vast.ai refuses the key ({reason}): vastai set api-key KEY, or VAST_API_KEY")
    if isinstance(code, int) and (code == 429 or code >= 500):
        return Unavailable(f"vastai {what}: HTTP {code}: {reason}")
    return (VastGone if code == 404 else VastRefused)(f"vastai {what}: {reason}")


def _complaint(text: str) -> dict[str, Any]:
    """The last line as the object that it should be; whatever else it is, it is the message."""
    try:
        said = orjson.loads(text.splitlines()[-1]) if text else {}
    except orjson.JSONDecodeError:
        said = None
    return said if isinstance(said, dict) else {"msg": _last_line(text)}


def _message_of(answer: Any) -> str:
    said = answer.get("msg") or answer.get("error") if isinstance(answer, dict) else answer
    return redact(str(said))


def _last_line(text: str) -> str:
    return redact(text.strip().splitlines()[-1][:300]) if text.strip() else "it said nothing"


def _rows(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        raise VastRefused(f"vastai gave {type(found).__name__} where a list was expected")
    return found


def _offer(row: dict[str, Any], wish: Wish) -> Offer:
    number = _number(row)
    traffic = _GB_DOWN_PER_HOUR * number("inet_down_cost") + _GB_UP_PER_HOUR * number("inet_up_cost")
    return Offer(
        id=int(row["id"]),
        machine_id=int(row.get("machine_id") or 0),
        gpu=str(row.get("gpu_name") or "?"),
        usd_hour=number("min_bid") if wish.interruptible else number("dph_total"),
        usd_traffic=traffic,
        min_bid=number("min_bid"),
        reliability=number("reliability") or number("reliability2"),
        down=number("inet_down"),
        up=number("inet_up"),
        place=str(row.get("geolocation") or "?"),
    )


def _instance(row: dict[str, Any]) -> Instance:
    number = _number(row)
    status = row.get("actual_status")
    return Instance(
        id=int(row["id"]),
        machine_id=int(row.get("machine_id") or 0),
        label=str(row.get("label") or ""),
        status=str(status) if status else None,
        intended=str(row.get("intended_status") or "running"),
        gpu=str(row.get("gpu_name") or "?"),
        usd_hour=number("dph_total"),
        age_s=number("duration"),
        message=redact(str(row.get("status_msg") or "").strip()),
    )


def _number(row: dict[str, Any]) -> Callable[[str], float]:
    return lambda name: float(row.get(name) or 0.0)
