"""What a client does not see of a turn: kept for its token, within bounds, for an hour."""

from __future__ import annotations

from typing import Any

from agentsd.services.tools.hidden_rounds import KEEP_SECONDS, OWNER_BYTES_MAX, HiddenRound, HiddenRoundStore

CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}
KEPT = HiddenRound(({"role": "assistant", "content": "x"},), ({"id": "c0"},), ({"role": "tool"},))


def restored(store: HiddenRoundStore, owner: str = "a", token: bytes = b"1") -> bool:
    """Whether the call is known."""
    return len(store.of(owner, token).restore([CALLED])) > 1


def test_it_is_kept_for_an_hour() -> None:
    """And for the very token."""
    now = [0.0]
    store = HiddenRoundStore(lambda: now[0])
    store.of("a", b"1").keep("c1", KEPT)
    assert restored(store)
    assert not restored(store, token=b"2")
    assert not restored(store, owner="b")
    now[0] = KEEP_SECONDS
    assert not restored(store)


def test_an_owner_s_oldest_goes_first() -> None:
    """Another owner's stays."""
    store = HiddenRoundStore()
    store.of("b", b"1").keep("c1", KEPT)
    store.of("a", b"1").keep("c1", KEPT)
    large = HiddenRound(({"content": "x" * (OWNER_BYTES_MAX // 2)},), (), ())
    for name in ("c2", "c3"):
        store.of("a", b"1").keep(name, large)
    assert not restored(store)
    assert restored(store, owner="b")
    store.of("a", b"1").keep("c4", HiddenRound(({"content": "x" * OWNER_BYTES_MAX},), (), ()))
    assert store.find("a", b"1", "c4") is None


def test_messages_without_calls_stay_as_they_are() -> None:
    """Odd ones, too."""
    said: list[Any] = [{"role": "user"}, {"tool_calls": []}, {"tool_calls": "x"}, {"tool_calls": [1]}, 5]
    assert HiddenRoundStore().of("a", b"1").restore(said) == said
