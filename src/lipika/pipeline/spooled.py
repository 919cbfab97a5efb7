"""A clip's audio on disk: read each time that it is sent, and in nobody's memory while it waits or is in flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from lipika.archive.spool import SpooledPiece
from lipika.errors import StorageError
from lipika.models import Clip, PolishedClip, SendFormat
from lipika.pipeline.byte_budget import ByteBudget


@dataclass(slots=True, eq=False)
class SpooledClip:
    """A polished clip whose sent form lies in its video's spool.

    It takes room in the budget of audio that is polished ahead, from `admit` until it is sent for the first time.
    """

    clip: Clip
    sent_format: SendFormat
    _piece: SpooledPiece
    _room: ByteBudget
    other_digest: str = ""  # this and the next: as PolishedClip's
    silent: bool = False
    _takes_room: bool = field(default=False, init=False)
    trouble: StorageError | None = field(default=None, init=False)  # why it could not be read

    @classmethod
    def from_polished(cls, polished: PolishedClip, sent: SpooledPiece, room: ByteBudget) -> Self:
        """The clip without its audio, of which `sent` is what goes to the model."""
        return cls(polished.clip, polished.sent_format, sent, room, polished.other_digest, polished.silent)

    def __len__(self) -> int:
        return self._piece.size

    async def admit(self) -> None:
        """Wait until so much may lie ahead of what is sent."""
        await self._room.acquire(len(self))
        self._takes_room = True

    def read(self) -> bytes:
        """The audio, to be sent now.

        Raises:
            StorageError: the video's spool is gone, or its disk.
        """
        self.leave()
        try:
            return self._piece.read()
        except StorageError as error:
            self.trouble = error
            raise

    def leave(self) -> None:
        """Give its room back: it has been sent, or never will be."""
        if self._takes_room:
            self._takes_room = False
            self._room.release(len(self))
