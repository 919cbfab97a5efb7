"""Limits of speech rates that a fleet has in common: which are in force, and who learns the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from lipika.db.connection import Database
from lipika.db.payload import to_json
from lipika.db.queries import load

_QUERIES = load("calibrations")


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """A calibration as it is stored. `content` is what `validation.calibrate.from_json` reads."""

    id: int
    simulated: bool
    version: str
    made_by: str
    clips: Mapping[str, int]
    content: str
    created_at: datetime

    def document(self) -> dict[str, object]:
        """For machines: all but the limits themselves."""
        return {name: value for name, value in asdict(self).items() if name != "content"}


REGISTRY = "registry"
"""In the place of a version, where none is in force."""


def calibration_line(row: CalibrationRow | None) -> str:
    """One line for people: which limits are in force, whose they are, and from what."""
    if row is None:
        return f"Rate limits: the {REGISTRY}'s own; nothing has been learned yet"
    clips = ", ".join(f"{code} {count:,}" for code, count in sorted(row.clips.items()))
    made_up = ", of SIMULATED answers" if row.simulated else ""
    return (
        f"Rate limits: {row.version}, learned {row.created_at:%Y-%m-%d %H:%M} by {row.made_by} from clips:"
        f" {clips or 'none'}{made_up}"
    )


@dataclass(frozen=True, slots=True)
class NewCalibration:
    """A calibration to be stored."""

    version: str
    clips: Mapping[str, int]
    content: str


@dataclass(frozen=True, slots=True)
class LearningTurn:
    """A language that is this worker's to learn until the lease of the turn runs out."""

    language: str
    token: str


@dataclass(frozen=True, slots=True)
class Told:
    """The id of the newest calibration, and this worker's turn; None where there is none."""

    newest: int | None
    turn: LearningTurn | None


@dataclass(frozen=True, slots=True)
class _Told:
    newest: int | None
    language: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class _Stored:
    stored: bool


class Calibrations:
    """`calibrations` and `calibration_turns`. Those of `simulated` answers are kept apart from those of real ones."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(
        self, worker_id: str, languages: Collection[str], *, simulated: bool, least: int, lease_s: float
    ) -> Told:
        """Ask what is in force, and for a turn: one of the languages, with `least` clips that no limits come from."""
        params = {
            "worker_id": worker_id,
            "key": self._database.key,
            "simulated": simulated,
            "languages": list(languages),
            "least": least,
            "lease_seconds": lease_s,
        }
        told = await self._database.row(_QUERIES["turn"], params, _Told)
        turn = (
            None if told.language is None or told.token is None else LearningTurn(told.language, told.token)
        )
        return Told(told.newest, turn)

    async def end(
        self, turn: LearningTurn, new: NewCalibration | None, *, simulated: bool, after: int | None
    ) -> bool:
        """End a turn, with a calibration that goes on from the one of id `after`, or with none.

        False: the turn is somebody else's by now, or a newer one is there; nothing was stored.
        """
        params = {
            "simulated": simulated,
            "token": turn.token,
            "after": after,
            "version": new and new.version,
            "clips": new and to_json(new.clips),
            "content": new and new.content,
        }
        return (await self._database.row(_QUERIES["end_turn"], params, _Stored)).stored

    async def newest(self, *, simulated: bool) -> list[CalibrationRow]:
        """The newest ones first, a few of them: the first that can be read is in force."""
        return await self._database.rows(_QUERIES["newest"], {"simulated": simulated}, CalibrationRow)

    async def newest_for_people(self) -> CalibrationRow | None:
        """The newest for real answers; that for made-up ones only if there is no other."""
        rows = await self.newest(simulated=False) or await self.newest(simulated=True)
        return rows[0] if rows else None

    async def put(self, new: NewCalibration, made_by: str, *, simulated: bool) -> None:
        """Put a person's calibration in force. Needs the rights of the tables' owner."""
        params = {
            "simulated": simulated,
            "version": new.version,
            "made_by": made_by,
            "clips": to_json(new.clips),
            "content": new.content,
            "languages": list(new.clips),
        }
        await self._database.execute(_QUERIES["put"], params)
