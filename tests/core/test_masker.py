"""One notion of what is secret, in views and in differences."""

from __future__ import annotations

import pytest

from agentsd.core.masker import Masker
from agentsd.core.plan.diff import FieldChange, diff_documents
from agentsd.core.plan.plan import make_plan
from agentsd.core.secret import MASK
from agentsd.core.text.plan_markdown import format_plan_markdown
from agentsd.core.text.revision_changes import RevisionState, diff_revisions
from agentsd.providers.catalog import default_catalog
from tests.core.values import EMPTY, desired, manifest, stored_of, with_values

MASKER = Masker(frozenset({"signing_pem"}))
PLAIN = "canary-of-a-vendor"


def agent(pem: str) -> dict[str, object]:
    """A manifest with a secret of a plug-in's vendor in plain, in a section and in a fallback."""
    entry = {"provider": "plug.example", "signing_pem": pem}
    return {"llm": {**entry, "fallback": [dict(entry)]}}


def test_a_difference_hides_a_vendors_own_secret_field() -> None:
    """Its name is not one that secrets usually have; that it changed still shows."""
    found = diff_documents(agent(PLAIN), agent(f"{PLAIN}-2"), masker=MASKER)
    assert found[0] == FieldChange("change", ("llm", "signing_pem"), MASK, MASK)
    assert [one.pointer for one in found[1:]] == [("llm", "fallback")]
    assert PLAIN not in repr(found)


def test_a_history_hides_it() -> None:
    """As a view of the agent does."""
    states = [RevisionState("a", "a.yaml", agent(f"{PLAIN}{number}")) for number in (1, 2)]
    found = diff_revisions(*states, MASKER)
    assert len(found) == 2
    assert PLAIN not in repr(found)


@pytest.mark.parametrize("stored", [True, False])
def test_a_plan_and_its_markdown_hide_it(stored: bool) -> None:
    """A row that was written by hand, and a new agent's fields, are printed for reviewers."""
    new, old = manifest("a.yaml", **agent(PLAIN)), manifest("a.yaml", **agent(f"{PLAIN}-2"))
    before = with_values(stored_of(old), old) if stored else EMPTY
    decided = make_plan(desired(new), before, source="main", masker=MASKER)
    text = format_plan_markdown(decided, masker=MASKER)
    assert "signing_pem" in text
    assert PLAIN not in text + repr([change.fields for change in decided.changes])


def test_a_catalogs_masker_knows_the_secret_fields_of_every_vendor() -> None:
    """Whatever they are called."""
    catalog = default_catalog()
    kinds = (catalog.llm, catalog.tts, catalog.stt, catalog.embedding)
    names = {name for kind in kinds for one in kind.values() for name in one.settings.secret_fields()}
    assert names
    assert all(map(catalog.make_masker().is_secret, names))
