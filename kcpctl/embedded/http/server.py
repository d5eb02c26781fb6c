"""The HTTP face of the API: who asks, may they, and who answers."""

from __future__ import annotations

import asyncio
import random
from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from kcpctl.embedded.database import DataDirError
from kcpctl.embedded.exports.directory import Place
from kcpctl.embedded.http.context import ServerContext
from kcpctl.embedded.http.export_access import ExportAccess
from kcpctl.embedded.http.export_paths import ExportPath, parse_export_path
from kcpctl.embedded.http.export_views import ExportViews
from kcpctl.embedded.http.lists import Selection
from kcpctl.embedded.http.negotiation import Representation, negotiate, negotiate_stream
from kcpctl.embedded.http.paths import PathHandler
from kcpctl.embedded.http.render import encode
from kcpctl.embedded.http.request import ApiRequest, denied, parse_path, split_cluster
from kcpctl.embedded.http.resources import Answer, ResourceHandler
from kcpctl.embedded.http.watches import MIN_TIMEOUT_SECONDS, Watch
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import (
    StatusError,
    internal,
    method_not_allowed,
    not_served,
    page_not_found,
)
from kcpctl.embedded.user import MASTERS, Attributes, UserInfo
from kcpctl.logicalcluster import ROOT, WILDCARD
from kcpctl.runtime import SYSTEM_RANDOM, BlockingPool, TaskSet, get_logger

__all__ = ["ApiServer"]

Json = dict[str, Any]
_log = get_logger(__name__)
_WATCH_TRANSFORMS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})


class ApiServer:
    """Answers HTTP requests on a registry.

    ``web_server`` is what an ``aiohttp.web.ServerRunner`` runs. Every failure becomes a Status.
    ``close`` ends the watches, so that a graceful stop does not wait for them; requests that come
    after it are still answered, but no watch lasts.
    """

    def __init__(self, context: ServerContext, *, rng: random.Random = SYSTEM_RANDOM) -> None:
        self._context = context
        self._registry = context.registry
        self._rng = rng
        self._tasks = TaskSet("api-server")
        self._pool = BlockingPool("kcpctl-openapi", threads=1)
        self._resources = ResourceHandler(context)
        self._paths = PathHandler(context, self._pool)
        exports = context.registry.exports
        self._views = ExportViews(context.registry, exports)
        self._access = ExportAccess(context.authorizer, exports)

    def web_server(self) -> web.Server:
        """Return the server to run; a watch is cancelled when its client goes away."""
        return web.Server(self.handle, handler_cancellation=True)

    async def close(self) -> None:
        """End every watch and the threads."""
        self._registry.store.wake_all()
        await self._tasks.close()
        self._pool.close()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request, when what it did and saw is kept."""
        try:
            try:
                return await self._handle(http)
            except StatusError as error:
                return _error_response(http, error)
            finally:
                self._registry.store.flush()
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - the client gets a 500, the log the reason
            _log.error("A request failed", exc_info=error, method=http.method, path=http.path)
            return _error_response(http, internal(f"{type(error).__name__}: {error}"))

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        path = unquote(http.rel_url.raw_path)
        query: dict[str, list[str]] = {}
        for key, value in http.rel_url.query.items():
            query.setdefault(key, []).append(value)
        wanted = None
        if self._registry.workspaces:
            exported = parse_export_path(path)
            if exported is not None:
                return await self._handle_exported(http, exported, query)
            if path.startswith("/services/"):
                raise self._unresolved(http, path)
            wanted, path = split_cluster(path)
        request = parse_path(http.method, path, query)
        cluster, user = self._identify(http, wanted)
        attributes = request.attributes(cluster)
        decision = self._context.authorizer.authorize(user, attributes)
        if not decision.allowed:
            raise denied(user, attributes, decision.reason)
        if not request.is_resource:
            accept = http.headers.get("Accept", "")
            infos = self._registry.infos(cluster)
            answer = await self._paths.handle(request, infos, accept, http.host)
            return _response(answer)
        if cluster == WILDCARD and request.verb not in ("list", "watch"):
            raise method_not_allowed()
        info = self._info(request, cluster, http.headers.get("Accept", ""))
        if request.verb == "watch":
            return await self._watch(http, request, info, Selection.of(request, info, cluster))
        return _response(await self._resources.handle(http, request, info, cluster, user))

    async def _handle_exported(
        self, http: web.BaseRequest, path: ExportPath, query: dict[str, list[str]]
    ) -> web.StreamResponse:
        """Answer a request to the virtual workspace of an APIExport."""
        request = parse_path(http.method, path.rest, query)
        cluster = path.export.cluster
        known = self._registry.exports.resolve(cluster) == cluster
        user = self._authenticate(http, cluster if known else None)
        self._access.check(user, path, request.attributes(path.consumer), http.path_qs)
        if not request.is_resource:
            accept = http.headers.get("Accept", "")
            infos = self._views.shown(path.export)
            answer = await self._paths.handle(request, infos, accept, http.host, is_view=True)
            return _response(answer)
        info, scope = self._views.open(path.export, path.consumer, request)
        if path.consumer == WILDCARD and self._views.is_unknown(info):
            return await self._nothing(request, info)
        if request.verb == "watch":
            selection = Selection.of(request, info, path.consumer, scope)
            return await self._watch(http, request, info, selection, path.export)
        # Whoever may do this may do it as if nobody were above them in the consumer.
        admin = replace(user, groups=(*user.groups, MASTERS))
        return _response(
            await self._resources.handle(http, request, info, path.consumer, admin, scope)
        )

    def _unresolved(self, http: web.BaseRequest, path: str) -> StatusError:
        """Return what is said of a path that is of no virtual workspace; raises 401 and 403."""
        user = self._authenticate(http, None)
        if MASTERS in user.groups:
            return page_not_found()
        attributes = Attributes(http.method.lower(), path=path)
        return denied(user, attributes, "Path not resolved to a valid virtual workspace")

    async def _nothing(self, request: ApiRequest, info: ResourceInfo) -> web.StreamResponse:
        """Answer a list or watch of what nobody has bound yet, as kcp does.

        The list has no version, and a watch is not even answered until its time is over: not
        when something is bound meanwhile either.
        """
        if request.verb == "list":
            empty = {"apiVersion": info.api_version, "kind": info.list_kind, "items": []}
            return _response(Answer(encode(empty, Representation())))
        seconds = float(request.integer("timeoutSeconds") or MIN_TIMEOUT_SECONDS)
        await asyncio.wait([self._tasks.spawn(self._context.clock.asleep(seconds), name="nothing")])
        return _response(Answer(b""))

    def _authenticate(self, http: web.BaseRequest, cluster: str | None) -> UserInfo:
        """Return who asks, as a logical cluster knows them; raises 401 and 403."""
        transport = http.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        certificate: bytes | None = tls.getpeercert(binary_form=True) if tls else None
        authorization = http.headers.get("Authorization")
        authenticator = self._context.authenticator
        return authenticator.authenticate(certificate, authorization, http.headers, cluster)

    def _identify(self, http: web.BaseRequest, wanted: str | None) -> tuple[str, UserInfo]:
        """Return the logical cluster and the user; raises 401, 403 and 404."""
        if wanted is None and self._registry.workspaces:
            authorization = http.headers.get("Authorization")
            wanted = self._context.authenticator.token_cluster(authorization)
        record = self._registry.logical_clusters.find(wanted or ROOT)
        cluster = WILDCARD if wanted == WILDCARD else record.name if record else None
        user = self._authenticate(http, cluster)
        if cluster is None:
            masters = MASTERS in user.groups
            raise self._registry.logical_clusters.unknown(wanted or "", masters=masters)
        return cluster, user

    def _info(self, request: ApiRequest, cluster: str, accept: str) -> ResourceInfo:
        """Return the resource; raises 404."""
        kinds = self._registry.backend.kinds
        if request.malformed:
            raise not_served() if request.group in kinds.built_in_groups else page_not_found()
        wanted = (request.group, request.version, request.plural)
        if cluster == WILDCARD and kinds.find(cluster, *wanted) is None:
            # All clusters' objects are asked for by identity, but for their metadata alone.
            family = kinds.find_family(*wanted)
            if family is not None and _wants_metadata(accept):
                return family
        return self._registry.info(cluster, *wanted)

    async def _watch(
        self,
        http: web.BaseRequest,
        request: ApiRequest,
        info: ResourceInfo,
        selection: Selection,
        export: Place | None = None,
    ) -> web.StreamResponse:
        """Answer a watch; that of an ``export``'s virtual workspace ends as that changes."""
        if "watch" not in info.verbs:
            raise method_not_allowed()
        accept = http.headers.get("Accept", "")
        watch = Watch(
            self._registry,
            info,
            request,
            selection,
            negotiate_stream(accept, transforms=_WATCH_TRANSFORMS),
            clock=self._context.clock,
            rng=self._rng,
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(http)
        lines = watch.lines(self._tasks)
        following = self._views.following(export, request, watch.end) if export else nullcontext()
        try:
            with following:
                async for chunk in lines:
                    self._registry.store.flush()
                    await response.write(chunk)
            await response.write_eof()
        except ConnectionError:
            pass  # the client went away
        except DataDirError:
            pass  # the server is about to end, and what it would show now may be lost
        finally:
            await lines.aclose()
        return response


def _wants_metadata(accept: str) -> bool:
    wanted = negotiate(accept, transforms=_WATCH_TRANSFORMS).transform
    return wanted in ("PartialObjectMetadata", "PartialObjectMetadataList")


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _response(answer: Answer) -> web.Response:
    response = web.Response(body=answer.body, status=answer.status)
    response.headers["Content-Type"] = answer.media_type
    response.headers["Cache-Control"] = "no-cache, private"
    for warning in dict.fromkeys(answer.warnings):
        response.headers.add("Warning", f'299 - "{_quote(warning)}"')
    return response


def _error_response(http: web.BaseRequest, error: StatusError) -> web.Response:
    if error.plain_text:
        body, media_type = error.message.encode(), "text/plain; charset=utf-8"
    else:
        yaml = http.headers.get("Accept", "").startswith("application/yaml")
        representation = Representation(yaml=yaml)
        body, media_type = encode(error.status, representation), representation.media_type
    response = _response(Answer(body, error.code, media_type, list(error.warnings)))
    response.headers.update(error.headers)
    return response
