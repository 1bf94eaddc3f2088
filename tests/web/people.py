"""Three owners, their users and what each may do: for the tests of access."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from tests.web.conftest import Stack, echo

LONG_AGO = "2001-01-31"


@dataclass(frozen=True)
class User:
    """A token of an owner's file."""

    owner: str  # "default": of the top-level file
    role: str
    name: str = ""
    expires: str | None = None

    @property
    def token(self) -> str:
        """What its holder sends."""
        return f"agentsd_{self.owner}-{self.name or self.role}-{self.expires or 'always'}"

    @property
    def headers(self) -> dict[str, str]:
        """The header that shows it."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def entry(self) -> str:
        """Its lines in the file."""
        hashed = sha256(self.token.encode()).hexdigest()
        text = f"  - name: {self.name or self.role}\n    sha256: {hashed}\n    role: {self.role}\n"
        return text + (f'    expires: "{self.expires}"\n' if self.expires else "")

    def sees(self, owner: str) -> bool:
        """Whether agents of ``owner`` exist for it."""
        return self.role == "admin" or self.owner == owner

    def writes(self, owner: str) -> bool:
        """Whether it may change them."""
        return self.role == "admin" or (self.role == "editor" and self.owner == owner)


ADMIN = User("default", "admin")
ALICE = User("acme", "editor")
ANN = User("acme", "viewer")
GUS = User("globex", "editor")
GLEN = User("globex", "viewer")
DORA = User("default", "editor")
DAN = User("default", "viewer")
USERS = (ADMIN, ALICE, ANN, GUS, GLEN, DORA, DAN)

OUTSIDERS: dict[str, dict[str, str]] = {
    "no token": {},
    "an unknown token": {"Authorization": "Bearer agentsd_nobody-knows-this-one"},
    "an expired token": User("acme", "editor", "old", LONG_AGO).headers,
    "a basic password": {"Authorization": "Basic YWNtZTpzZWNyZXQ="},
}

AGENTS = {
    "default": ("support", "desk"),
    "acme": ("acme/sales", "acme/orders"),
    "globex": ("globex/sales", "globex/vault"),
}
"""Owner → slugs; the first is the owner's default."""


def write_users(stack: Stack, owner: str, users: Iterable[User]) -> None:
    """The user file of ``owner``, with the tokens of ``users``."""
    entries = "".join(user.entry for user in users)
    path = "_user.yaml" if owner == "default" else f"{owner}/_user.yaml"
    stack.write(path, f"email: ops@{owner}.example\n" + (f"tokens:\n{entries}" if entries else ""))


async def settle(stack: Stack) -> None:
    """Every owner with its agents and its users."""
    for owner, slugs in AGENTS.items():
        for slug in slugs:
            name = f"{owner.capitalize()} {slug.rpartition('/')[2]}"
            stack.write(f"{slug}.yaml", echo(name, default=slug == slugs[0]))
        expired = [User("acme", "editor", "old", LONG_AGO)] if owner == "acme" else []
        write_users(stack, owner, [user for user in (*USERS, *expired) if user.owner == owner])
    await stack.sync()
