"""Paths that are no resource: health, version, discovery, OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kcpctl.embedded import discovery, openapi
from kcpctl.embedded.http.context import ServerContext
from kcpctl.embedded.http.negotiation import negotiate, parse_media_type
from kcpctl.embedded.http.render import encode
from kcpctl.embedded.http.request import ApiRequest
from kcpctl.embedded.http.resources import Answer
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import StatusError, not_acceptable, not_served, page_not_found
from kcpctl.runtime import BlockingPool

__all__ = ["PathHandler", "version_info"]

Json = dict[str, Any]
_TEXT: Final = "text/plain; charset=utf-8"
_HEALTH: Final = ("/healthz", "/livez", "/readyz")
_CHECKS: Final = ("ping", "log", "etcd", "poststarthook/start-apiextensions-controllers")
_PROTO_V2: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
# What it is called in answers: clients in Go cannot parse a media type with an @.
_ANSWERED_PROTO_V2: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_encoder = msgspec.json.Encoder()


def version_info(*, workspaces: bool) -> Json:
    """Return ``/version``. A server with logical clusters says so, as kcp does."""
    return {
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.3+kcp-embedded" if workspaces else "v1.36.3",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": "",
    }


class PathHandler:
    """Answers the requests that are about no resource. Every failure is a StatusError."""

    def __init__(self, context: ServerContext, pool: BlockingPool) -> None:
        self._context = context
        self._registry = context.registry
        self._pool = pool

    async def handle(
        self,
        request: ApiRequest,
        infos: Sequence[ResourceInfo],
        accept: str,
        host: str,
        *,
        is_view: bool = False,
    ) -> Answer:
        """Answer one request about ``infos``; ``host`` is the address that the client uses.

        A virtual workspace (``is_view``) has neither health nor aggregated discovery.
        """
        path = request.path.removesuffix("/") or "/"
        segments = path[1:].split("/")
        if f"/{segments[0]}" in _HEALTH and not is_view:
            return self._health(request, segments)
        if path == "/version":
            return self._json(version_info(workspaces=self._registry.workspaces), accept)
        if segments[0] == "openapi":
            return await self._openapi(segments[1:], infos, accept)
        if segments[0] in ("api", "apis"):
            if request.method not in ("GET", "HEAD"):
                raise _method_not_allowed_path()
            if len(segments) == 1 and not is_view and _wants_aggregated(accept):
                return self._aggregated(segments[0], infos)
            found = self._discovery(segments, infos, host)
            if found is None:
                groups = self._registry.backend.kinds.built_in_groups
                is_known = segments[0] == "api" or segments[1] in groups
                raise not_served() if is_known and not is_view else page_not_found()
            return self._json(found, accept)
        if path == "/":
            paths = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3"]
            return self._json({"paths": [*paths, "/readyz", "/version"]}, accept)
        raise page_not_found()

    def _json(self, value: Any, accept: str) -> Answer:
        representation = negotiate(accept)
        return Answer(encode(value, representation), media_type=representation.media_type)

    def _health(self, request: ApiRequest, segments: list[str]) -> Answer:
        name = "/".join(segments[1:])
        if name:
            if name not in _CHECKS:
                raise page_not_found()
            return Answer(b"ok", media_type=_TEXT)
        if "verbose" not in request.query:
            return Answer(b"ok", media_type=_TEXT)
        excluded = set(request.query.get("exclude", ()))
        lines = [
            f"[+]{check} excluded: ok" if check in excluded else f"[+]{check} ok"
            for check in _CHECKS
        ]
        lines.append(f"{segments[0]} check passed\n")
        return Answer("\n".join(lines).encode(), media_type=_TEXT)

    def _aggregated(self, head: str, infos: Sequence[ResourceInfo]) -> Answer:
        make = discovery.aggregated_api if head == "api" else discovery.aggregated_apis
        return Answer(_encoder.encode(make(infos)), media_type=_AGGREGATED)

    def _discovery(
        self, segments: list[str], infos: Sequence[ResourceInfo], host: str
    ) -> Json | None:
        """Return a document of discovery, None where there is none."""
        head, *rest = segments
        if not rest:
            return (
                discovery.api_versions(host) if head == "api" else discovery.api_group_list(infos)
            )
        if head == "api":
            return discovery.resource_list("v1", infos) if rest == ["v1"] else None
        if len(rest) == 1:
            return discovery.api_group(rest[0], infos)
        return discovery.resource_list(f"{rest[0]}/{rest[1]}", infos)

    async def _openapi(self, rest: list[str], infos: Sequence[ResourceInfo], accept: str) -> Answer:
        if rest == ["v2"]:
            if any(parse_media_type(one)[0] == _PROTO_V2 for one in accept.split(",")):
                body = await self._pool.run(openapi.v2_protobuf, infos)
                return Answer(body, media_type=_ANSWERED_PROTO_V2)
            if accept and not any(
                parse_media_type(one)[0] in ("application/json", "*/*") for one in accept.split(",")
            ):
                raise not_acceptable(("application/json",))
            return Answer(await self._pool.run(openapi.v2, infos))
        if rest == ["v3"]:
            body = await self._pool.run(openapi.v3_index, infos)
            return Answer(body, media_type=_TEXT)
        if rest[:1] == ["v3"] and rest[1:2] in (["api"], ["apis"]):
            group_version = "/".join(rest[2:])
            document = await self._pool.run(openapi.v3_group, group_version, infos)
            if document is not None:
                return Answer(document)
        raise page_not_found()


def _wants_aggregated(accept: str) -> bool:
    """Whether the client takes v2 of the aggregated document; raises 406 for others only."""
    others = False
    for clause in accept.split(","):
        media_type, parameters = parse_media_type(clause)
        if parameters.get("as") == "APIGroupDiscoveryList":
            if media_type == "application/json" and parameters.get("v") == "v2":
                return True
            others = True
        elif media_type in ("application/json", "*/*", "application/yaml", ""):
            return False
    if others:
        raise not_acceptable(("application/json", "application/yaml"))
    return False


def _method_not_allowed_path() -> StatusError:
    return StatusError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        {},
    )
