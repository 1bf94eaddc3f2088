"""Description of the service: providers, synchronisation, events, probes, and the OpenAPI document."""

from __future__ import annotations

from agentsd.web.openapi.model import MediaType, Operation, Parameter, Reply, refer_to_schema
from agentsd.web.openapi.operations.agents import CACHE_HEADERS, IF_NONE_MATCH, NOT_MODIFIED
from agentsd.web.openapi.schemas.common import ANYTHING, TEXT

GROUP = "Service"

OPERATIONS = (
    Operation(
        id="getSession",
        method="GET",
        path="/api/session",
        group=GROUP,
        summary="The principal, and what may be written here",
        replies=(Reply(200, "The session.", (MediaType(refer_to_schema("Session")),)),),
    ),
    Operation(
        id="signIn",
        method="POST",
        path="/api/session",
        group=GROUP,
        summary="Keep this token in the browser",
        description=(
            "In a cookie that scripts cannot read; a request that comes with it and changes something needs "
            "this server's own `Origin`. For pages: programs send `Authorization`."
        ),
        replies=(Reply(200, "The session.", (MediaType(refer_to_schema("Session")),)),),
    ),
    Operation(
        id="signOut",
        method="DELETE",
        path="/api/session",
        group=GROUP,
        summary="Delete the token from the browser",
        replies=(Reply(200, "Done.", (MediaType(refer_to_schema("SignedOut")),)),),
    ),
    Operation(
        id="listProviders",
        method="GET",
        path="/api/providers",
        group=GROUP,
        summary="Kinds, vendors and the fields of their settings",
        parameters=(IF_NONE_MATCH,),
        replies=(
            Reply(200, "The catalog.", (MediaType(refer_to_schema("Providers")),), CACHE_HEADERS),
            NOT_MODIFIED,
        ),
    ),
    Operation(
        id="getSchema",
        method="GET",
        path="/api/schema",
        group=GROUP,
        summary="The JSON Schema of a manifest",
        description="As this server checks it, with the vendors of plug-ins.",
        parameters=(IF_NONE_MATCH,),
        replies=(Reply(200, "A JSON Schema (2020-12).", (MediaType(ANYTHING),), CACHE_HEADERS), NOT_MODIFIED),
    ),
    Operation(
        id="getSync",
        method="GET",
        path="/api/sync",
        group=GROUP,
        summary="State of files, store and replicas",
        description="Also available while Postgres is away.",
        replies=(
            Reply(
                200, "Versions, runs, conditions, replicas, leaders.", (MediaType(refer_to_schema("Sync")),)
            ),
        ),
    ),
    Operation(
        id="pullNow",
        method="POST",
        path="/hooks/git",
        group=GROUP,
        summary="Webhook of a Git host: pull at once",
        description=(
            "The body, 25 MiB at most, may contain anything: only its signature is checked. 404 where "
            "`AGENTSD_HOOK_SECRET_FILE` is not set."
        ),
        replies=(Reply(202, "Every puller was notified.", (MediaType(refer_to_schema("Pulling")),)),),
        errors=(404, 413, 503),
        role="signed",
        curl="""-d '{}' -H "X-Gitlab-Token: $(cat hook-secret)\"""",
    ),
    Operation(
        id="followEvents",
        method="GET",
        path="/api/events",
        group=GROUP,
        summary="Changes, as server-sent events",
        description=(
            "`hello` (or `resync`) first, then `changed`, `condition` and `resync`, each with "
            '`{"version": 42, "slugs": ["acme/sales"]}`; a comment every few seconds keeps it open. '
            "`run` has a `run` as in `/api/sync`, and a `condition` of a manifest has a `condition`: "
            "admins receive all, others what concerns their agents."
        ),
        parameters=(
            Parameter(
                "Last-Event-ID", "header", "The last event received before a reconnect.", {"type": "string"}
            ),
        ),
        replies=(Reply(200, "The stream.", (MediaType(None, "text/event-stream"),), ("X-Accel-Buffering",)),),
        streams=True,
    ),
    Operation(
        id="isAlive",
        method="GET",
        path="/healthz",
        group=GROUP,
        summary="Liveness of the process",
        replies=(Reply(200, "The process is alive.", (MediaType(refer_to_schema("Alive")),)),),
        role=None,
    ),
    Operation(
        id="isReady",
        method="GET",
        path="/readyz",
        group=GROUP,
        summary="Readiness: whether agents are served",
        replies=(
            Reply(200, "Ready, with or without Postgres.", (MediaType(refer_to_schema("Readiness")),)),
            Reply(
                503,
                "The agents are not loaded yet, or the server is about to stop.",
                (MediaType(refer_to_schema("Readiness")),),
            ),
        ),
        role=None,
    ),
    Operation(
        id="getMetrics",
        method="GET",
        path="/metrics",
        group=GROUP,
        summary="Metrics, in the text format of Prometheus",
        replies=(Reply(200, "The metrics.", (MediaType(TEXT, "text/plain"),)),),
        role=None,
    ),
    Operation(
        id="getOpenAPI",
        method="GET",
        path="/openapi.json",
        group=GROUP,
        summary="This API, as OpenAPI 3.1",
        description="It contains nothing about agents, so it needs no token.",
        parameters=(IF_NONE_MATCH,),
        replies=(Reply(200, "The document.", (MediaType(ANYTHING),), CACHE_HEADERS), NOT_MODIFIED),
        role=None,
    ),
    Operation(
        id="getDocs",
        method="GET",
        path="/docs",
        group=GROUP,
        summary="This API, as a page",
        parameters=(IF_NONE_MATCH,),
        replies=(Reply(200, "A page.", (MediaType(TEXT, "text/html"),), CACHE_HEADERS), NOT_MODIFIED),
        role=None,
    ),
)
