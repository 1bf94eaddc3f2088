"""Dashboard and alerts ask for what is exported, and for nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from agentsd.runtime.agents.condition_counts import _TYPES as CONDITIONS
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.telemetry import Metrics
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.quota import QuotaMetrics
from tests.deploy.containers import DEPLOY, composed

ALERTS = DEPLOY / "prometheus/alerts.yaml"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/agentsd.json").read_text())
SCRAPED = {"job", "instance"}  # labels that Prometheus adds
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Every series of a runtime, with its labels."""
    metrics = Metrics()
    WebMetrics(metrics), VoiceMetrics(metrics), QuotaMetrics(metrics)
    found = {"up": SCRAPED}
    for family, labels in _families(metrics.registry):
        for suffix in _SUFFIXES[family.type]:
            found[family.name + suffix] = labels | SCRAPED | ({"le"} if suffix == "_bucket" else set())
    return found


def _families(registry: CollectorRegistry) -> Iterator[tuple[Any, set[str]]]:
    collectors = {id(one): one for one in registry._names_to_collectors.values()}
    for collector in collectors.values():
        for family in collector.collect():
            yield family, set(getattr(collector, "_labelnames", ()))


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """What the dashboard shows."""
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Of the alerts and of the dashboard."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    queries = [one["definition"] for one in BOARD["templating"]["list"] if one["type"] == "query"]
    return [rule["expr"] for rule in rules()] + shown + queries


@pytest.mark.parametrize("expression", expressions())
def test_every_series_and_label_is_exported(expression: str, exported: dict[str, set[str]]) -> None:
    """Names with their suffixes; labels that are matched or grouped by; counters are looked at as rates."""
    names = set(re.findall(r"\b(?:agentsd_\w+|up)\b", expression))
    assert names <= set(exported), names - set(exported)
    assert names
    labels = set.union(*(exported[name] for name in names))
    matched = re.findall(r"(\w+) *(?:=~|!~|!=|=(?!=))", expression)
    grouped = re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expression)
    used = {*matched, *(label.strip() for group in grouped for label in group.split(","))}
    assert used <= labels, used - labels
    for name in names:
        if name.endswith(("_total", "_bucket")):
            assert re.search(rf"\b(rate|increase)\({name}\b", expression), name


def test_conditions_that_are_asked_for_exist() -> None:
    """A label's value that never occurs would never alert."""
    asked = {name for text in expressions() for name in re.findall(r'condition=~"([^"]+)"', text)}
    assert {one for group in asked for one in group.split("|")} <= set(CONDITIONS)


def test_every_metric_is_shown(exported: dict[str, set[str]]) -> None:
    """The dashboard or an alert uses each metric, but for those that tell of nothing to be done."""
    text = "\n".join(expressions())
    spare = {"agentsd_subscriber_resyncs", "agentsd_provider_close_failures", "agentsd_snapshot_writes"}
    families = {re.sub("_(total|bucket|sum|count)$", "", name) for name in exported}
    unused = {name for name in families if not re.search(rf"\b{name}(_total|_bucket)?\b", text)}
    assert unused <= spare | {"agentsd_snapshot_write_seconds"}, unused


def test_the_dashboard_is_one_that_can_be_imported() -> None:
    """Ids of its own, panels within the grid that do not overlap, legends that name labels of the query."""
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels():
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]) or label == "instance"
            assert target["expr"].count("(") == target["expr"].count(")")


def test_alerts_have_the_shape_of_prometheus() -> None:
    """Fields, durations and severities; what a message quotes is a label of its expression's result."""
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert (
            {"alert", "expr", "labels", "annotations"}
            <= set(rule)
            <= {*("alert", "expr", "for", "labels", "annotations")}
        )
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        grouped = re.match(r"(?:sum|max|histogram_quantile)\b.*?by \(([^)]*)\)", rule["expr"], re.S)
        if grouped and "group_right" not in rule["expr"]:
            quoted = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
            assert quoted <= {label.strip() for label in grouped[1].split(",")}, rule["alert"]


def test_promtool_accepts_them() -> None:
    """Where Prometheus is installed, its own tool parses rules, configuration and the dashboard's queries."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    for kind, path in (("rules", ALERTS), ("config", DEPLOY / "prometheus/prometheus.yaml")):
        done = subprocess.run([promtool, "check", kind, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_the_runtimes_of_compose() -> None:
    """Each by its name and port, under the job that alerts and dashboard name."""
    (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())["scrape_configs"]
    assert job["job_name"] == "agentsd"
    (targets,) = job["static_configs"]
    assert targets["targets"] == [f"{one.name}:8080" for one in composed() if one.args[0] == "serve"]
