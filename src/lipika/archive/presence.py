"""Archives that a list or table names, looked for before it is believed: the first of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lipika.archive.lists import is_relative
from lipika.errors import LipikaError, ObjectMissing, UsageError
from lipika.storage.store import Place

LOOKED_AT = 20
_NAMED = 3
_PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Presence:
    """The first archives: how many were looked for, and the keys of those that are not there.

    `unreachable` is what kept them from being looked for, in words.
    """

    looked_for: int
    missing: tuple[str, ...]
    unreachable: str = ""


async def find_first(keys: Sequence[str], place: Callable[[str], Place]) -> Presence:
    """Look for archives, of which `keys` are the first. What cannot be reached from here is for the workers to find.

    Raises:
        UsageError: none of them is there.
    """
    told = await asyncio.gather(*(_look(key, place) for key in keys))
    missing = tuple(key for key, trouble in zip(keys, told, strict=True) if trouble is None)
    unreachable = next((trouble for trouble in told if trouble), "")
    looked_for = sum(not trouble for trouble in told)
    if missing and len(missing) == looked_for:
        named = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise UsageError(
            f"of the first {looked_for:,} archives none is there: {named}. Nothing was added. Mend the keys"
            " (--key-template, the list's source_key) or STORE_URL; if they are yet to come: --no-check"
        )
    return Presence(looked_for, missing, unreachable)


async def _look(key: str, place: Callable[[str], Place]) -> str | None:
    """None where it is not there, else empty, or the reason why that cannot be told."""
    try:
        found = place(key)
        await asyncio.wait_for(found.store.head(found.key), _PATIENCE_S)
    except ObjectMissing:
        return None
    except TimeoutError:
        return f"no answer about {key} within {_PATIENCE_S:.0f} s"
    except (LipikaError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def refuse_relative(keys: Sequence[str]) -> None:
    """Keys that are below a store, where there is none.

    Raises:
        UsageError: the first of them, and the way out.
    """
    for key in keys:
        if is_relative(key):
            raise UsageError(
                f"the archive {key!r} is a key below STORE_URL, and there is none here. Set it as the workers have"
                " it, give whole URLs or paths as source_key, or begin --key-template with one"
            )
