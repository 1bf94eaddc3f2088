"""GET /metrics: Prometheus' text format. Labels are route templates, never text from a client."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import Counter, Gauge, Histogram

from agentsd.telemetry import Metrics

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class WebMetrics:
    """Metrics of the HTTP interface, beside the other metrics of the process."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self._requests = Counter(
            "agentsd_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "agentsd_http_request_seconds",
            "From the request's head to the response's last byte.",
            ["route"],
            buckets=_BUCKETS_SECONDS,
            registry=registry,
        )
        self.cut = Counter(
            "agentsd_http_connections_cut",
            "Connections refused or closed: too many (full, address) or too slow (head, body, stalled).",
            ["reason"],
            registry=registry,
        )
        self.streams = Gauge("agentsd_http_streams", "Open streams.", ["kind"], registry=registry)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one response. ``route`` is a template, so that clients cannot create new series."""
        key = (method if method in _KNOWN_METHODS else "OTHER", route, status)
        children = self._children.get(key)
        if children is None:
            children = (self._requests.labels(*map(str, key)), self._seconds.labels(route))
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)


def make_routes(metrics: Metrics) -> list[web.RouteDef]:
    """Return the routes of this resource."""
    headers = {"Content-Type": metrics.content_type, "Cache-Control": "no-store"}

    async def get(request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers=headers)

    return [web.get("/metrics", get)]
