"""What compose and Kubernetes are told is what the program has."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from agentsd.cli.main import cli
from agentsd.files.git.command import _KEPT_VARIABLES as GIT_KNOWS
from agentsd.settings import Settings
from agentsd.telemetry import Metrics
from agentsd.web import metrics
from agentsd.web.rest import git_webhook as hooks
from agentsd.web.rest import health
from tests.deploy.containers import (
    DEPLOY,
    OVERLAYS,
    ROOT,
    Container,
    Value,
    clustered,
    compose,
    composed,
    named,
    pods,
    rendered,
)

YAML = sorted([*DEPLOY.rglob("*.yaml"), ROOT / "docker-compose.yml"])
ROUTES = {one.path for one in (*health.make_routes(), *hooks.make_routes(), *metrics.make_routes(Metrics()))}
SOPS_KNOWS = {"SOPS_AGE_KEY_FILE"}


@pytest.fixture(params=["compose", *OVERLAYS])
def containers(request: pytest.FixtureRequest) -> list[Container]:
    """Every container of agentsd of one way to deploy it."""
    where: str = request.param
    return list(composed() if where == "compose" else clustered(rendered(where)))


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> tuple[Value, ...]:
    """Every object of one kustomization."""
    return rendered(request.param)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``deploy/secrets.sh`` makes, and the key that a person puts there."""
    folder = tmp_path_factory.mktemp("secrets") / "made"
    make_secrets(folder)
    (folder / "age_key").write_text("a key")
    return folder


def make_secrets(folder: Path) -> str:
    """What the script says."""
    command = ["sh", DEPLOY / "secrets.sh", folder]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_every_file_parses_and_holds_no_key(path: Path) -> None:
    """YAML, and nothing of what only files outside the repository may hold."""
    text = path.read_text()
    assert all(document for document in yaml.safe_load_all(text))
    assert not re.search(r"AGE-SECRET-KEY-1[0-9A-Z]|PASSWORD: *[^/\s]|//\w+:[^@\s]*@", text)


def test_every_container_runs_a_command_that_exists(containers: list[Container]) -> None:
    """The commands parse, with every option and value; there is one of each role, and enough of them."""
    for one in containers:
        command = cli.get_command(click.Context(cli), one.args[0])
        assert command is not None, one.args
        command.make_context(one.args[0], list(one.args[1:]))
    assert {one.args[0] for one in containers} == {"migrate", "watch", "serve"}
    assert all("--grants" in one.args for one in containers if one.args[0] == "migrate")


def test_every_variable_is_a_setting_with_a_valid_value(
    containers: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable that nothing reads, no value that is refused, no file that is mounted nowhere."""
    ours = {f"AGENTSD_{name.upper()}" for name in Settings.model_fields}
    for one in containers:
        assert set(one.env) <= ours | SOPS_KNOWS | set(GIT_KNOWS), one.name
        with monkeypatch.context() as patched:
            for name, value in one.env.items():
                patched.setenv(name, value)
            Settings()
        for value in one.env.values():
            for path in re.findall(r"(?:^|[ =])(/(?:run|var|etc|agents)[^ ]*)", value):
                assert any(path.startswith(mount) for mount in one.mounts), f"{one.name}: {path}"


def test_whoever_stops_has_the_time_that_its_drain_takes(containers: list[Container]) -> None:
    """Grace and drain end before the kill."""
    for one in containers:
        if one.args[0] == "serve":
            grace, drain = (float(one.env[f"AGENTSD_SHUTDOWN_{name}"]) for name in ("GRACE", "DRAIN"))
            assert grace + drain + 5 <= one.seconds


def test_compose_confines_every_container() -> None:
    """Read-only, without capabilities or new privileges, bounded; no password but in files."""
    services = compose()["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert ("cap_add" in service) == (name == "postgres")
        assert "healthcheck" in service or name in {"migrate", "watch"}, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    assert services["watch"]["deploy"]["replicas"] == 2
    assert [name for name in services if name.startswith("serve-")] == ["serve-a", "serve-b", "serve-c"]
    assert compose()["networks"]["data"] == {"internal": True}


def test_compose_reads_secrets_that_the_script_makes(secrets: Path) -> None:
    """Every secret and every file of variables; each container has its own role's login."""
    assert {secret["file"] for secret in compose()["secrets"].values()} <= {
        f"./secrets/{path.name}" for path in secrets.iterdir()
    }
    logins = {"migrate": "owner", "watch": "watch", "serve": "serve"}
    for service in compose()["services"].values():
        assert set(service.get("secrets", ())) <= set(compose()["secrets"])
        for path in service.get("env_file", ()):
            login = logins[service["command"][0]]
            assert path == f"secrets/{login}.env"
            url = dict(line.split("=", 1) for line in (secrets / f"{login}.env").read_text().splitlines())
            password = (secrets / f"{login}.password").read_text()
            assert url == {"AGENTSD_DATABASE_URL": f"postgresql://{login}:{password}@postgres/agentsd"}


def test_secrets_are_random_and_stay(secrets: Path, tmp_path: Path) -> None:
    """Twice the same folder: the same secrets. Another one: others. The folder is its owner's alone."""
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert make_secrets(secrets) == ""
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert "put your age key there" in make_secrets(tmp_path / "other")
    random = ("owner.password", "watch.password", "serve.password", "api_tokens")
    others = {(tmp_path / "other" / name).read_text() for name in random}
    assert len({before[name] for name in random} | others) == 8
    assert all(re.fullmatch("[0-9a-f]{64}", before[name]) for name in random)
    assert (secrets.stat().st_mode & 0o777, (secrets / "age_key").stat().st_mode & 0o444) == (0o700, 0o444)


def test_the_proxy_knows_every_runtime_and_is_known_to_it() -> None:
    """The names, the port, the probe; and its network is the one whose X-Forwarded-For is believed."""
    config = (DEPLOY / "haproxy/haproxy.cfg").read_text()
    runtimes = {one.name: one for one in composed() if one.args[0] == "serve"}
    assert dict(re.findall(r"server (\S+) \S+:(\d+)", config)) == dict.fromkeys(runtimes, "8080")
    assert set(re.findall(r"(?:uri|path) (\S+)", config)) <= ROUTES
    (network,) = compose()["networks"]["front"]["ipam"]["config"]
    for one in runtimes.values():
        assert one.args[one.args.index("--port") + 1] == "8080"
        assert one.env["AGENTSD_TRUSTED_PROXIES"] == network["subnet"]
        assert set(re.findall(r"127.0.0.1:8080(/\w+)", str(compose()["services"][one.name]))) <= ROUTES


def test_objects_are_valid_by_the_published_schemas(objects: tuple[Value, ...]) -> None:
    """Strictly: unknown fields are refused. A custom resource has no schema there."""
    for one in objects:
        if one["kind"] == "ServiceMonitor":
            assert set(one["spec"]) == {"selector", "endpoints"}
        else:
            kubernetes_validate.validate(one, "1.34", strict=True)


def test_objects_find_each_other(objects: tuple[Value, ...]) -> None:
    """Selectors match pods, probes and monitors name real routes and ports, references lead somewhere."""
    labels = {name: pod["metadata"].get("labels", {}) for name, pod in pods(objects).items()}
    for one in objects:
        for selector in _selectors(one):
            assert any(selector.items() <= found.items() for found in labels.values()), one["metadata"]
    for pod in pods(objects).values():
        for container in pod["spec"]["containers"]:
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if get := container.get(probe, {}).get("httpGet"):
                    assert get["path"] in ROUTES
                    assert ports[get["port"]] == 8080
    services = {name: one for name, one in named(objects, "Service").items() if "selector" in one["spec"]}
    for service in services.values():
        assert all(port["targetPort"] in {"http", "postgres"} for port in service["spec"]["ports"])
    for monitor in named(objects, "ServiceMonitor").values():
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= services["agentsd"]["metadata"]["labels"].items()
        assert {one["path"] for one in monitor["spec"]["endpoints"]} <= ROUTES
    for scaler in named(objects, "HorizontalPodAutoscaler").values():
        target = named(objects, scaler["spec"]["scaleTargetRef"]["kind"])
        assert "replicas" not in target[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]


def _selectors(one: Value) -> Iterator[dict[str, str]]:
    spec = one.get("spec", {})
    if one["kind"] == "Service":
        yield spec["selector"]
    elif one["kind"] in {"Deployment", "PodDisruptionBudget"}:
        yield spec["selector"]["matchLabels"]
    elif one["kind"] == "NetworkPolicy":
        yield spec["podSelector"]["matchLabels"]


def test_pods_may_do_nothing_that_they_need_not(objects: tuple[Value, ...]) -> None:
    """Not root, nothing writable but volumes, no capability, no token of the cluster, bounded memory."""
    for pod in pods(objects).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_pods_read_secrets_that_the_script_makes(secrets: Path) -> None:
    """Their names and keys are those of its kustomization, and the placeholders' as well."""
    made: dict[str, set[str]] = {}
    for one in yaml.safe_load((secrets / "kustomization.yaml").read_text())["secretGenerator"]:
        variables = [(secrets / path).read_text().split("=")[0] for path in one.get("envs", ())]
        made[one["name"]] = {*one.get("files", ()), *variables}
    optional = {"agentsd-git", "agentsd-tls"}
    for overlay in OVERLAYS:
        text = yaml.safe_dump(rendered(overlay))
        used = set(re.findall(r"secretName: (\S+)|secretRef:\s+name: (\S+)", text))
        assert {name for pair in used for name in pair if name} <= set(made) | optional
    for name, secret in named(rendered("kubernetes"), "Secret").items():
        assert set(secret["data"]) == made[name]
    assert not any(one["kind"] == "Secret" for overlay in OVERLAYS[1:] for one in rendered(overlay))


def test_a_release_is_made_of_enough_of_everything() -> None:
    """Two daemons; three runtimes or more, of which a rollout or an eviction takes one at a time."""
    objects = rendered("kubernetes/overlays/prod")
    deployments, scalers = named(objects, "Deployment"), named(objects, "HorizontalPodAutoscaler")
    assert deployments["agentsd-watch"]["spec"]["replicas"] == 2
    assert scalers["agentsd-serve"]["spec"]["minReplicas"] == 3
    assert deployments["agentsd-serve"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    budgets = named(objects, "PodDisruptionBudget")
    assert {one["spec"]["maxUnavailable"] for one in budgets.values()} == {1}


def test_the_image_has_what_it_is_made_of_and_runs_as_the_pods_do() -> None:
    """COPY finds its sources, .dockerignore hides none of them, the user is the one of the pods."""
    text = (DEPLOY / "Dockerfile").read_text()
    hidden = (ROOT / ".dockerignore").read_text().split()
    copied = " ".join(re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M))
    sources = shlex.split(copied)
    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert [name for name in sources if any(fnmatch(name, pattern) for pattern in hidden)] == []
    user = re.findall(r"^USER (\S+)$", text, re.M)[-1]
    for name, pod in pods(rendered("kubernetes")).items():
        context: dict[str, Any] = pod["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user, name
    extras = re.findall(r"'\.\[([a-z,]+)\]'", text)[0].split(",")
    assert set(extras) <= set(re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text(), re.M))


def test_git_in_a_pod_takes_the_token_of_its_secret(tmp_path: Path) -> None:
    """The configuration of deploy/kubernetes/base/gitconfig, asked as git asks for https."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    config = tmp_path / "gitconfig"
    text = (DEPLOY / "kubernetes/base/gitconfig").read_text()
    config.write_text(text.replace("/run/secrets/git/token", str(token)))
    done = subprocess.run(
        ["git", "credential", "fill"],
        env={"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": str(config), "GIT_TERMINAL_PROMPT": "0"},
        input="protocol=https\nhost=git.example.org\n\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "username=agentsd\npassword=s3cret\n" in done.stdout


def test_grants_are_of_the_newest_schema_only() -> None:
    """With a way back they are refused, before anything is connected to."""
    for arguments in (["--grants", "--downgrade", "--revision", "base"], ["--grants", "--revision", "0001"]):
        done = CliRunner().invoke(cli, ["migrate", *arguments])
        assert (done.exit_code, "newest schema" in done.output) == (2, True), done.output
