"""Names, roles and tokens of a board's people: what is read, what is refused, and that no token is ever said."""

from __future__ import annotations

import getpass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lipika.config import load_settings
from lipika.dashboard.people import OPERATOR, Access, Role, User, machine_user, read_people
from lipika.dashboard.serve import access_of
from lipika.dashboard.signing import Signer
from lipika.errors import UsageError

MIRA, ANIL, ROOT = "m" * 20, "a" * 20, "r" * 20


def test_people_of_both_settings_are_known_by_their_tokens() -> None:
    access = Access(read_people(ROOT, f" mira:reviewer:{MIRA},\n  मीरा बाई:Reader:{ANIL}:x ,\n"))
    assert access.find_owner(MIRA) == User("mira", Role.REVIEWER)
    assert access.find_owner(f"{ANIL}:x") == User("मीरा बाई", Role.READER)
    assert access.find_owner(ROOT) == User(OPERATOR, Role.OPERATOR)
    for wrong in ("", "mira", ANIL, MIRA + "x", MIRA[:-1], "ü", "\ud800"):
        assert access.find_owner(wrong) is None, wrong
    assert access.find_user("mira") == User("mira", Role.REVIEWER)
    assert access.find_user("") is None


def test_without_tokens_everybody_is_the_visitor_and_no_token_is_right() -> None:
    access = Access(visitor="anil")
    assert access.find_user("") == access.find_user("whoever") == User("anil", Role.OPERATOR)
    assert access.find_owner("") is None


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("mira", "entry 1 of 1 is not name:role:token"),
        (f"mira:{MIRA}", "entry 1 of 1 is not name:role:token"),
        (MIRA, "entry 1 of 1 is not name:role:token"),
        (f"anil:reader:{ANIL},mira:boss:{MIRA}", "entry 2 of 2: the role in its middle"),
        (f"mira:{MIRA}:reviewer", "entry 1 of 1: the role in its middle"),
        (f"{MIRA}:reviewer:mira", "entry 1 of 1: its token is too short"),
        ("mira:reviewer:short", r"entry 1 of 1 \(mira\): its token is too short"),
        (f"mira:reader:{MIRA},mira:reviewer:{ANIL}", r"entry 2 of 2 \(mira\): somebody .* same name"),
        (f"mira:reader:{MIRA},anil:reviewer:{MIRA}", r"entry 2 of 2 \(anil\): somebody .* same token"),
        (f"operator:reader:{MIRA}", "same name"),
        (f"mira:reader:{ROOT}", "same token"),
        (f":reader:{MIRA}", "its name is to have 1 to 64"),
        (f"Lipika:reader:{MIRA}", "is taken"),
        (f"...:reader:{MIRA}", "letters or digits"),
        (f"mi\u202era:reader:{MIRA}", "cannot be seen"),
    ],
)
def test_an_entry_that_will_not_do_is_named_without_its_token(listed: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_people(ROOT, listed)
    assert not any(token in str(caught.value) for token in (MIRA, ANIL, ROOT))


@given(
    st.text(max_size=80),
    st.sampled_from(["", "mira:", "mira:reader:", "reader:mira:", ":", "::", ","]),
)
def test_whatever_stands_there_no_long_part_of_it_is_said(text: str, before: str) -> None:
    try:
        read_people("", before + text)
        said = ""
    except UsageError as error:
        said = str(error)
    parts = [part.strip() for part in text.replace("\n", ",").replace(":", ",").split(",")]
    assert not any(part in said for part in parts if len(part) >= 16)


def test_a_single_token_is_as_long_as_it_always_had_to_be() -> None:
    with pytest.raises(UsageError, match="DASHBOARD_TOKEN is too short"):
        read_people("short", "")


def test_tokens_are_secrets_of_the_settings_one_by_one() -> None:
    settings = load_settings(dashboard_tokens=SecretStr(f"mira:reviewer:{MIRA}, anil:reader:{ANIL}"))
    assert {MIRA, ANIL} <= set(settings.secrets())
    assert MIRA not in repr(settings)
    access = access_of(settings, read_only=False)
    assert MIRA not in repr(access)
    assert [person.user.name for person in access.people] == ["mira", "anil"]
    with pytest.raises(UsageError, match="--name is for a board without tokens"):
        access_of(settings, read_only=False, visitor="anil")


def test_the_visitor_is_the_machine_s_user_unless_a_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    monkeypatch.setattr(getpass, "getuser", lambda: "mira")
    assert access_of(settings, read_only=False).visitor == "mira"
    assert access_of(settings, read_only=False, visitor="Anil K.").visitor == "Anil K."
    with pytest.raises(UsageError, match="--name 'lipika' is taken"):
        access_of(settings, read_only=False, visitor="lipika")

    def nobody() -> str:
        raise KeyError("uid not found: 10001")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert machine_user() == OPERATOR
    monkeypatch.setattr(getpass, "getuser", lambda: "lipika")
    assert machine_user() == OPERATOR


@given(st.text(min_size=1, max_size=64).filter(lambda name: name.encode("utf-8", "ignore").decode() == name))
def test_a_session_carries_its_name_whatever_letters_it_has(name: str) -> None:
    signer = Signer()
    session = signer.new_session(name)
    assert signer.session(signer.cookie(session)) == session
    assert signer.cookie(session).isascii()
