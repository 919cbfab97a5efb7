"""Writing results as they come, and reading them back so that nothing is paid for twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from lipika.db.connection import Database, Params
from lipika.db.payload import to_json
from lipika.db.queries import load
from lipika.db.result_rows import (
    FlagColumns,
    StoredAnswer,
    StoredRow,
    batch_params,
    discard_flag,
    distinct_flags,
    kept_row,
    result_flags,
    result_row,
)
from lipika.db.voters import voter_row
from lipika.errors import LeaseLost, RowRefused
from lipika.models import (
    SIMULATED,
    BatchReport,
    ClaimedVideo,
    ClipResult,
    Discard,
    Was,
)

_QUERIES = load("results")
_ROWS_PER_STATEMENT = 1_000  # about 2 MB of JSON
_PAGE_ROWS = 2_000
_NAME_KEPT = 400  # letters of a name that no index takes


@dataclass(frozen=True, slots=True)
class _VideoId:
    video_id: str


@dataclass(frozen=True, slots=True)
class WayRow(Was):
    """One way in which answers of a video were asked for."""

    video_id: str
    clips: int
    usd: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    owned: bool


class Results:
    """`transcription_results`, `transcription_flags`, `transcription_batches`.

    Every write may be repeated: the same rows again change nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, claim: ClaimedVideo, results: Sequence[ClipResult]) -> None:
        """Store clips of one video with what others say of them and their flags: failures, and findings of severity
        `fail`.

        A flag of a clip that is no longer found is closed. Clips must be distinct within one call.

        Raises:
            LeaseLost: another worker owns the video; nothing of the batch was written.
        """
        for start in range(0, len(results), _ROWS_PER_STATEMENT):
            batch = results[start : start + _ROWS_PER_STATEMENT]
            rows = to_json([result_row(result) for result in batch])
            flags = to_json(distinct_flags(flag for result in batch for flag in result_flags(result)))
            await self._write_if_owned("write", claim, {"rows": rows, "flags": flags})
            said = [row for result in batch if result.voters and (row := voter_row(result)) is not None]
            if said:
                await self._write_if_owned("write_voters", claim, {"rows": to_json(said)})

    async def keep_answers(self, claim: ClaimedVideo, answers: Sequence[ClipResult]) -> None:
        """Store paid answers of clips of this video that are no clip's result: those of other models in a cascade.

        Raises:
            LeaseLost: another worker owns the video; nothing of the batch was written.
        """
        for start in range(0, len(answers), _ROWS_PER_STATEMENT):
            rows = to_json([kept_row(answer) for answer in answers[start : start + _ROWS_PER_STATEMENT]])
            await self._write_if_owned("keep_answers", claim, {"rows": rows})

    async def write_discards(self, claim: ClaimedVideo, discards: Sequence[Discard]) -> None:
        """Store what went no further, as flags `discard:<reason>`. Raises LeaseLost."""
        for start in range(0, len(discards), _ROWS_PER_STATEMENT):
            flags = distinct_flags(map(discard_flag, discards[start : start + _ROWS_PER_STATEMENT]))
            await self._write_discards(claim, flags)

    async def _write_discards(self, claim: ClaimedVideo, flags: Sequence[FlagColumns]) -> None:
        """One that is refused for what it holds, such as a name of thousands of letters, keeps no other out."""
        try:
            await self._write_if_owned("write_discards", claim, {"flags": to_json(flags)})
        except RowRefused:
            middle = len(flags) // 2
            if middle:
                await self._write_discards(claim, flags[:middle])
                await self._write_discards(claim, flags[middle:])
            elif len(flags[0].segment_file) > _NAME_KEPT:
                name = f"{flags[0].segment_file[: _NAME_KEPT - 1]}…"
                await self._write_discards(claim, [replace(flags[0], segment_file=name)])
            else:
                raise

    async def remove(self, claim: ClaimedVideo, segment_files: Sequence[str]) -> None:
        """Delete rows of clips that the video no longer has, with their flags and sums. Raises LeaseLost."""
        await self._write_if_owned("remove", claim, {"segment_files": list(segment_files)})

    async def stored_answers(self, video_id: str) -> AsyncIterator[StoredAnswer]:
        """All clips stored for a video, by file name, in pages; clips that failed have no answer."""
        after = ""
        while True:
            params = {"video_id": video_id, "after": after, "limit": _PAGE_ROWS}
            page = await self._database.rows(_QUERIES["stored_answers"], params, StoredRow)
            for row in page:
                yield row.stored_answer()
            if len(page) < _PAGE_ROWS:
                return
            after = page[-1].segment_file

    async def list_made_up(self, video_ids: Sequence[str]) -> list[str]:
        """Those of the videos whose results were made up by the simulator."""
        params = {"video_ids": list(video_ids), "simulated": SIMULATED}
        rows = await self._database.rows(_QUERIES["made_up"], params, _VideoId)
        return [row.video_id for row in rows]

    async def ways(self, video_ids: Sequence[str]) -> list[WayRow]:
        """The ways in which the answers of these videos were asked for."""
        found: list[WayRow] = []
        for start in range(0, len(video_ids), _PAGE_ROWS):
            params = {"video_ids": list(video_ids[start : start + _PAGE_ROWS])}
            found += await self._database.rows(_QUERIES["ways"], params, WayRow)
        return found

    async def write_batch(self, report: BatchReport) -> None:
        """Store one closed batch window."""
        params = {"key": self._database.key, "batch": to_json(batch_params(report))}
        await self._database.execute(_QUERIES["write_batch"], params)

    async def _write_if_owned(self, name: str, claim: ClaimedVideo, params: Params) -> None:
        token = {"video_id": claim.video_id, "claim_token": claim.claim_token}
        outcome = await self._database.row(_QUERIES[name], {**token, **params}, _Outcome)
        if not outcome.owned:
            raise LeaseLost(f"{claim.video_id}: another worker owns it now; these results were not written")
