"""Shamir's secret sharing over GF(2^8), as sops (and HashiCorp Vault, where it comes from) does it."""

from __future__ import annotations

from collections.abc import Sequence


def combine_shares(shares: Sequence[bytes]) -> bytes:
    """Return the secret behind ``shares``; each is its y bytes and one final x byte.

    Raises ``ValueError`` for fewer than two, for unequal lengths and for one share given twice.
    Too few shares for the threshold give a wrong secret, which the MAC then shows.
    """
    if len(shares) < 2 or len({len(share) for share in shares}) != 1 or len(shares[0]) < 2:
        raise ValueError("at least two shares of equal length are needed")
    xs = [share[-1] for share in shares]
    if len(set(xs)) != len(xs):
        raise ValueError("one share was given twice")
    weights = [_compute_weight(xs, index) for index in range(len(xs))]
    secret = bytearray(len(shares[0]) - 1)
    for share, weight in zip(shares, weights, strict=True):
        for place in range(len(secret)):
            secret[place] ^= _multiply_elements(share[place], weight)
    return bytes(secret)


def _compute_weight(xs: Sequence[int], index: int) -> int:
    """Return Lagrange's basis polynomial of share ``index`` at 0.

    Addition is XOR, and so is subtraction.
    """
    weight = 1
    for other, x in enumerate(xs):
        if other != index:
            weight = _multiply_elements(weight, _multiply_elements(x, _invert_element(x ^ xs[index])))
    return weight


def _multiply_elements(a: int, b: int) -> int:
    """Multiply in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _invert_element(a: int) -> int:
    """Return a^254, which is 1/a: the group has 255 members."""
    result = 1
    for _ in range(254):
        result = _multiply_elements(result, a)
    return result
