"""Counting in memory: bounded, cheap, and the same numbers as the library's own storage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from agentsd.web.http.client_address import TrustedProxies, rate_key
from agentsd.web.middleware.sliding_window import SlidingWindowCounters


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_slides() -> None:
    """What was used in the last window weighs less and less in this one; then it is forgotten."""
    clock = Clock()
    clock.now = 60_000.0
    counters = SlidingWindowCounters(10, 60, clock=clock)

    def allowed(times: int) -> int:
        return sum(counters.take("k")[0] for _ in range(times))

    assert allowed(11) == 10
    clock.now += 60
    assert allowed(1) == 0
    clock.now += 30
    assert allowed(6) == 5
    clock.now += 200
    assert allowed(11) == 10


def test_the_wait_is_long_enough() -> None:
    """Who comes back when it is said is let in, in whatever part of a window."""
    clock = Clock()
    counters = SlidingWindowCounters(7, 60, clock=clock)
    for _ in range(50):
        allowed, _, wait = counters.take("k")
        if not allowed:
            clock.now += int(wait) + 1
            assert counters.take("k")[0]


def test_clients_do_not_share_and_are_bounded() -> None:
    """Of more clients than are kept, the ones seen last are."""
    counters = SlidingWindowCounters(1, 86_400, keys=3)
    assert [counters.take(name)[0] for name in "abca"] == [True, True, True, False]
    assert all(counters.take(name)[0] for name in "defghij")
    assert len(counters) == 3
    assert not counters.take("j")[0]


@given(st.lists(st.sampled_from("aab"), max_size=40))
async def test_it_counts_as_the_library_does(hits: list[str]) -> None:
    """Hit by hit, the same verdict and the same remainder."""
    rule = parse("12/year")
    ours, theirs = (
        SlidingWindowCounters(rule.amount, rule.get_expiry()),
        SlidingWindowCounterRateLimiter(MemoryStorage()),
    )
    for key in hits:
        allowed, remaining, _ = ours.take(key)
        assert allowed == await theirs.hit(rule, key)
        assert remaining == (await theirs.get_window_stats(rule, key)).remaining
    timer = getattr(theirs.storage, "timer", None)
    if timer is not None:
        await timer


def test_one_customer_is_one_address() -> None:
    """An IPv6 customer has a /64 to choose from; a mapped address is its IPv4 one; the rest is unknown."""
    assert rate_key("192.0.2.7") == "192.0.2.7"
    assert rate_key("::ffff:192.0.2.7") == "192.0.2.7"
    assert rate_key("2001:db8:1:2:3:4:5:6") == rate_key("2001:db8:1:2::9%eth0") == "2001:db8:1:2::/64"
    assert rate_key("nonsense") == rate_key("a:b") == rate_key("") == "unknown"


def test_only_a_listed_proxy_is_believed() -> None:
    """By address or network, also in IPv6's spelling of IPv4."""
    proxies = TrustedProxies.parse(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
    assert all(map(proxies.trusts, ("10.1.2.3", "192.0.2.7", "2001:db8::1")))
    assert not any(map(proxies.trusts, ("11.1.2.3", "nonsense", "", "::1")))
    assert not TrustedProxies().trusts("10.1.2.3")
