"""The people of a board: their names, their roles, and the tokens by which they are known. Pure, but for one name."""

from __future__ import annotations

import enum
import hmac
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field

from lipika.errors import UsageError
from lipika.machine import user_name

OPERATOR = "operator"
"""The owner of DASHBOARD_TOKEN, and the name of whoever visits where nothing says who."""
SHORTEST_TOKEN = 16
_LONGEST_NAME = 64
_TAKEN = frozenset({"lipika"})  # what lipika itself has done stands under this name
_ENTRIES = re.compile(r"[,\n]")


class Role(enum.IntEnum):
    """The rights of a person, each with those before it."""

    READER = 1  # looks at everything
    REVIEWER = 2  # edits texts, deals with flags, hears audits, votes
    OPERATOR = 3  # everything: queue, workers, limits

    @property
    def word(self) -> str:
        return self.name.lower()


_ROLES = {role.word: role for role in Role}


@dataclass(frozen=True, slots=True)
class User:
    """One who asks. `name` stands beside what is changed."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Person:
    """A user with the token that proves it."""

    user: User
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of visitors. Without tokens the board answers to names of this machine only, as to an operator."""

    people: tuple[Person, ...] = ()
    read_only: bool = False
    visitor: str = OPERATOR  # the name of whoever comes where there are no tokens

    @classmethod
    def from_token(cls, token: str, *, read_only: bool = False) -> Access:
        """One operator, or a board that needs no token where it is empty."""
        people = (Person(User(OPERATOR, Role.OPERATOR), token),) if token else ()
        return cls(people, read_only)

    @property
    def needs_token(self) -> bool:
        return bool(self.people)

    def find_owner(self, token: str) -> User | None:
        """The user whose token it is; takes as long for a wrong one."""
        given = token.encode("utf-8", "replace")
        found = None
        for person in self.people:  # all of them: how long it takes says nothing
            if hmac.compare_digest(given, person.token.encode()):
                found = person.user
        return found

    def find_user(self, name: str) -> User | None:
        """The user of a session that was opened under `name`; without tokens everybody is the visitor."""
        if not self.people:
            return User(self.visitor, Role.OPERATOR)
        return next((person.user for person in self.people if person.user.name == name), None)


def read_people(token: str, listed: str) -> tuple[Person, ...]:
    """The people of DASHBOARD_TOKEN (one operator) and of DASHBOARD_TOKENS (`name:role:token`, commas between).

    Raises:
        UsageError: names the entry by its number, and by its name where that cannot be the token.
    """
    people = list(Access.from_token(token).people)
    if token and len(token) < SHORTEST_TOKEN:
        raise UsageError(f"DASHBOARD_TOKEN {_TOO_SHORT}")
    entries = [entry.strip() for entry in _ENTRIES.split(listed) if entry.strip()]
    for number, entry in enumerate(entries, 1):
        people.append(_person_of(entry, f"DASHBOARD_TOKENS: entry {number} of {len(entries)}", people))
    return tuple(people)


_TOO_SHORT = f"is too short: {SHORTEST_TOKEN} characters at least, such as: openssl rand -hex 24"


def _person_of(entry: str, where: str, known: Collection[Person]) -> Person:
    parts = [part.strip() for part in entry.split(":", 2)]
    if len(parts) < 3:
        raise UsageError(f"{where} is not name:role:token, such as mira:reviewer:$(openssl rand -hex 24)")
    name, role, token = unicodedata.normalize("NFC", parts[0]), _ROLES.get(parts[1].lower()), parts[2]
    if role is not None and len(name) < SHORTEST_TOKEN:  # else it may be the token, in the wrong place
        where = f"{where} ({name})"
    if role is None:
        raise UsageError(f"{where}: the role in its middle is none of {', '.join(_ROLES)}")
    if len(token) < SHORTEST_TOKEN:
        raise UsageError(f"{where}: its token {_TOO_SHORT}")
    if problem := name_problem(name):
        raise UsageError(f"{where}: its name {problem}")
    if any(person.user.name == name for person in known):
        raise UsageError(f"{where}: somebody before it has the same name")
    if any(person.token == token for person in known):
        raise UsageError(
            f"{where}: somebody before it has the same token, so that nobody could tell them apart"
        )
    return Person(User(name, role), token)


def name_problem(name: str) -> str:
    """The reason against a name, to be said after it; empty where it will do."""
    if not name or len(name) > _LONGEST_NAME:
        return f"is to have 1 to {_LONGEST_NAME} characters"
    if not name.isprintable() or name != name.strip() or not any(map(str.isalnum, name)):
        return "is to have letters or digits, and nothing that cannot be seen"
    if name.casefold() in _TAKEN:
        return f"is taken: as {name} stands what lipika itself has done"
    return ""


def machine_user() -> str:
    """The name that this machine knows the user of this process by; `operator` where it knows none."""
    name = user_name()
    return OPERATOR if name_problem(name) else name
