"""Targets of hand-offs in the store: a change of the target is held against the file that names it."""

from __future__ import annotations

import pytest

from agentsd.core.errors import InvalidManifests
from tests.control.place import Place, echo, make_checker

FRONT = echo(1, "Front", extra="handoff:\n- when: an invoice\n  to: acme/billing\n")
START = {"acme/front.yaml": FRONT, "acme/billing.yaml": echo(2, "Billing"), "acme/other.yaml": echo(3)}
WHERE = ("acme/front.yaml:8:7", "handoff-target")


async def refused(place: Place, **options: object) -> list[tuple[str, str]]:
    """Places and codes of the violations of a plan."""
    with pytest.raises(InvalidManifests) as caught:
        await place.plan(**options)
    return [(one.where, one.code) for one in caught.value.violations]


async def test_a_target_that_goes_is_held_against_who_names_it(place: Place) -> None:
    """By the process that applied it, and by one that knows the store only; nothing is changed meanwhile."""
    await place.sync(START)
    assert (await place.plan()).plan.empty
    billing = START["acme/billing.yaml"]
    for known in (place, place.again(make_checker(None))):
        known.write({"acme/billing.yaml": None})
        assert await refused(known) == [WHERE]
        known.write({"acme/billing.yaml": billing + "active: false\n"})
        assert await refused(known) == [WHERE]
        known.write({"acme/billing.yaml": billing})
        assert (await known.plan()).plan.empty


async def test_a_daemon_keeps_what_is_named(place: Place) -> None:
    """The file that names it is set aside, both serve on, and others of the tree are applied."""
    await place.sync(START)
    files = {"acme/billing.yaml": None, "beta/new.yaml": echo(4)}
    outcome = await place.sync(files, strict=False)
    assert [one.path for one in outcome.plan.quarantined] == ["acme/front.yaml"]
    assert await place.slugs() == {"acme/front", "acme/billing", "acme/other", "beta/new"}
    again = await place.sync(strict=False)
    assert (again.plan.empty, [one.path for one in again.plan.quarantined]) == (True, ["acme/front.yaml"])
    healed = await place.sync({"acme/front.yaml": echo(1, "Front")}, strict=False)
    assert healed.plan.quarantined == ()
    assert "acme/billing" not in await place.slugs()


async def test_an_edit_in_place_is_held_to_the_rule(place: Place) -> None:
    """A daemon looks at edited files alone, but at all where one names others, or is named."""
    await place.sync(START)
    outcome = await place.sync({"acme/front.yaml": FRONT.replace("billing", "none")}, strict=False)
    assert [one.path for one in outcome.plan.quarantined] == ["acme/front.yaml"]
    await place.sync({"acme/front.yaml": FRONT.replace("Front", "Desk")}, strict=False)
    needs = "variables: {order: {type: string}}\n"
    outcome = await place.sync({"acme/billing.yaml": echo(2, "Billing", extra=needs)}, strict=False)
    (violation,) = outcome.plan.quarantined[0].violations
    assert (violation.where, violation.code) == ("acme/front.yaml:8:7", "handoff-variables")
    outcome = await place.sync({"acme/front.yaml": FRONT + needs}, strict=False)
    assert outcome.plan.quarantined == ()
