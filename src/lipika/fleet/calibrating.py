"""Rate limits that the fleet has in common: a worker takes over what is in force, and learns when it is its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from lipika.db.calibrations import Calibrations, LearningTurn
from lipika.db.clip_samples import ClipSamples
from lipika.engine.outcome import Alert
from lipika.errors import LipikaError, Unavailable
from lipika.languages import LANGUAGES
from lipika.log import get_logger
from lipika.pipeline.tools import RateLimits
from lipika.rework.limits import InForce, as_new, learn_language, read_in_force
from lipika.validation import validator_version
from lipika.validation.calibrate import LEAST_CLIPS, Calibration

log = get_logger(__name__)

_LEASE_S = 300.0
"""Of a turn: some times what it takes. One that takes longer has ended by then."""


@dataclass(frozen=True, slots=True)
class CalibratingOptions:
    """`least_clips` of a language are learned from; `simulated`: this worker's answers are made up."""

    least_clips: int = LEAST_CLIPS
    simulated: bool = False
    lease_s: float = _LEASE_S


class Calibrating:
    """Keeps `limits` at what is in force. Trouble in it is told once, and the limits stay as they are.

    Args:
        worker_id: who asks.
        calibrations: what all workers of the database share.
        clips: what is learned from.
        limits: what this worker's clips are judged by.
        on_alert: told what a person should know.
    """

    def __init__(
        self,
        worker_id: str,
        calibrations: Calibrations,
        clips: ClipSamples,
        limits: RateLimits,
        on_alert: Callable[[Alert], object],
        options: CalibratingOptions | None = None,
    ) -> None:
        self._worker_id = worker_id
        self._calibrations = calibrations
        self._clips = clips
        self._limits = limits
        self._on_alert = on_alert
        self._options = options or CalibratingOptions()
        self._in_force = InForce()
        self._told = set[str]()

    async def take_over(self) -> None:
        """Judge by what is in force from now on. Raises DatabaseUnavailable in an outage."""
        try:
            await self._take_over()
        except Unavailable:
            raise
        except LipikaError as error:
            self._alert("calibration_trouble", str(error))

    async def calibrate(self) -> None:
        """Ask what is new, and learn if it is this worker's turn. Raises DatabaseUnavailable in an outage."""
        options = self._options
        try:
            told = await self._calibrations.ask(
                self._worker_id,
                LANGUAGES,
                simulated=options.simulated,
                least=options.least_clips,
                lease_s=options.lease_s,
            )
            if told.newest != self._in_force.newest:
                await self._take_over()
            if told.turn is not None:
                await self._learn(told.turn)
        except Unavailable:
            raise
        except LipikaError as error:
            self._alert("calibration_trouble", str(error))

    async def _take_over(self) -> None:
        found = await read_in_force(self._calibrations, simulated=self._options.simulated)
        for number, reason in found.unreadable:
            self._alert("calibration_unreadable", f"calibration {number} is passed over: {reason}")
        self._in_force = found
        if found.bands.version != self._limits.bands.version:
            self._limits.bands = found.bands
            made_by = found.row.made_by if found.row else ""
            log.info("rate_limits", validator=validator_version(found.bands), made_by=made_by)

    async def _learn(self, turn: LearningTurn) -> None:
        """Whatever comes of it, the turn ends; only an outage, and the end of a life, leave that to its lease."""
        learned = None
        try:
            async with asyncio.timeout(self._options.lease_s):
                learned = await learn_language(
                    self._clips,
                    turn.language,
                    self._options.least_clips,
                    simulated=self._options.simulated,
                )
        except Unavailable:
            raise
        except TimeoutError:
            self._alert("calibration_trouble", f"learning {turn.language} took longer than its lease")
        except Exception:  # the boundary of a turn: the next one is not at once
            await self._end(turn, None)
            raise
        await self._end(turn, learned)

    async def _end(self, turn: LearningTurn, learned: Calibration | None) -> None:
        before = self._in_force
        new = before.calibration.renew(learned) if learned and learned.bands else None
        stored = await self._calibrations.end(
            turn,
            None if new is None else as_new(new),
            simulated=self._options.simulated,
            after=before.newest,
        )
        log.info(
            "calibrated",
            language=turn.language,
            clips=learned.clips.get(turn.language, 0) if learned else 0,
            version=new.version if new and stored else "",
        )
        if new and stored:
            await self._take_over()

    def _alert(self, code: str, message: str) -> None:
        if message in self._told:
            return
        self._told.add(message)
        log.warning(code, reason=message)
        self._on_alert(Alert(code, message))
