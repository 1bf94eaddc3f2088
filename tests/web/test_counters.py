"""Counting in memory: bounded, cheap, and the same numbers as the library's own storage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from agentsd.web.clients import Proxies, bucket
from agentsd.web.counters import Counters


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_window_slides() -> None:
    """What was used in the last window weighs less and less in this one; then it is forgotten."""
    clock = Clock()
    limiter, rule = SlidingWindowCounterRateLimiter(Counters(clock=clock)), parse("10/minute")
    clock.now = 60_000.0
    assert [await limiter.hit(rule, "k") for _ in range(11)] == [True] * 10 + [False]
    clock.now += 60
    assert not await limiter.hit(rule, "k")
    clock.now += 30
    assert [await limiter.hit(rule, "k") for _ in range(6)] == [True] * 5 + [False]
    clock.now += 200
    assert [await limiter.hit(rule, "k") for _ in range(11)] == [True] * 10 + [False]


async def test_clients_do_not_share_and_are_bounded() -> None:
    """Of more clients than are kept, the ones seen last are."""
    counters = Counters(keys=3)
    limiter, rule = SlidingWindowCounterRateLimiter(counters), parse("1/day")
    assert [await limiter.hit(rule, name) for name in "abca"] == [True, True, True, False]
    for name in "defghij":
        assert await limiter.hit(rule, name)
    assert len(counters) == 3
    assert not await limiter.hit(rule, "j")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), max_size=40))
async def test_it_counts_as_the_library_does(hits: list[tuple[str, int]]) -> None:
    """Hit by hit, the same verdict and the same remainder."""
    rule = parse("12/year")
    ours, theirs = (SlidingWindowCounterRateLimiter(one) for one in (Counters(), MemoryStorage()))
    for key, cost in hits:
        assert await ours.hit(rule, key, cost=cost) == await theirs.hit(rule, key, cost=cost)
        mine, other = await ours.get_window_stats(rule, key), await theirs.get_window_stats(rule, key)
        assert mine.remaining == other.remaining
    if isinstance(theirs.storage, MemoryStorage) and theirs.storage.timer:
        await theirs.storage.timer


def test_one_customer_is_one_address() -> None:
    """An IPv6 customer has a /64 to choose from; a mapped address is its IPv4 one; the rest is unknown."""
    assert bucket("192.0.2.7") == "192.0.2.7"
    assert bucket("::ffff:192.0.2.7") == "192.0.2.7"
    assert bucket("2001:db8:1:2:3:4:5:6") == bucket("2001:db8:1:2::9%eth0") == "2001:db8:1:2::/64"
    assert bucket("nonsense") == bucket("a:b") == bucket("") == "unknown"


def test_only_a_listed_proxy_is_believed() -> None:
    """By address or network, also in IPv6's spelling of IPv4."""
    proxies = Proxies.parse(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
    assert all(map(proxies.trusts, ("10.1.2.3", "192.0.2.7", "2001:db8::1")))
    assert not any(map(proxies.trusts, ("11.1.2.3", "nonsense", "", "::1")))
    assert not Proxies().trusts("10.1.2.3")
