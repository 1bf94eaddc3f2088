"""Pull mode's options and settings: what they make, and what cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsd.cli.compose.factories import load_settings
from agentsd.cli.compose.pull import make_pull_setup
from agentsd.core.errors import ConfigError


def made(**fields: Any) -> Any:
    """What these settings make."""
    return make_pull_setup(
        load_settings(**{"git_url": "https://ada@git.example.org/org/x.git", **fields}), {}
    )


def test_settings_make_a_puller(tmp_path: Path) -> None:
    """The interval's units, the ref, and a folder of its own for each source and remote."""
    pulling = made(git_interval="5m", git_ref="v1", git_dir=tmp_path, source="team")
    assert pulling.options.interval == 300
    assert (pulling.mirror.ref, pulling.options.path) == ("v1", "agents.d")
    assert pulling.mirror.folder.parent == tmp_path
    assert pulling.mirror.folder.name.startswith("team-")
    assert made(git_dir=tmp_path, git_interval="1.5h").options.interval == 5400
    assert made(git_dir=tmp_path, git_interval="2").options.interval == 2
    others = [{}, {"source": "b"}, {"git_url": "git@git.example.org:org/y"}]
    assert len({made(git_dir=tmp_path, **other).mirror.folder for other in others}) == 3
    same = made(git_dir=tmp_path, git_url="git@git.example.org:org/x")
    assert same.mirror.folder == made(git_dir=tmp_path).mirror.folder
    assert make_pull_setup(load_settings(), {}) is None


def test_where_repositories_are_kept(tmp_path: Path) -> None:
    """In the data folder; beside it where that is embedded Postgres' own."""
    with_url = made(data_dir=tmp_path / "data", database_url="postgresql://x/y")
    assert with_url.mirror.folder.parent == tmp_path / "data/git"
    assert made(data_dir=tmp_path / "data").mirror.folder.parent == tmp_path / "data.git"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"git_url": "https://ada:hunter22@example.org/x"}, "contains a password"),
        ({"path": "/srv/agents.d"}, "--path names a folder in the repository"),
        ({"path": "../agents.d"}, "--path names a folder in the repository"),
        ({"verify": "tags"}, "needs the trusted signers"),
        ({"verify_commits": "/nonexistent"}, "cannot be read"),
        ({"git_ref": "a..b"}, "not a valid git ref"),
        ({"git_interval": "soon"}, "GIT_INTERVAL"),
        ({"git_interval": "0s"}, "GIT_INTERVAL"),
        ({"write_back": "git"}, "the API cannot write"),
        ({"forge_token_file": "/nonexistent"}, "contains no token"),
    ],
)
def test_what_cannot_work_is_told(fields: dict[str, Any], said: str) -> None:
    """As a mistake of the command line, without a password."""
    with pytest.raises(ConfigError, match=said) as refused:
        made(**fields)
    assert "hunter22" not in str(refused.value)
    assert refused.value.exit_code == 2
