"""Requests on resources: one method for each verb."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from kcpctl.embedded.conversion import from_storage
from kcpctl.embedded.http.bodies import decode_object, decode_options, decode_patch, read_body
from kcpctl.embedded.http.context import ServerContext
from kcpctl.embedded.http.lists import ListPage, Selection, list_page, wait_for_revision
from kcpctl.embedded.http.negotiation import Representation, negotiate, parse_media_type
from kcpctl.embedded.http.render import (
    encode,
    include_object_of,
    list_bytes,
    partial_metadata,
    table,
)
from kcpctl.embedded.http.request import ApiRequest
from kcpctl.embedded.http.scope import EVERYTHING, Scope
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.pipeline import WriteOptions
from kcpctl.embedded.pod_binding import bound_pod
from kcpctl.embedded.scale import SCALE_INFO, scale_of
from kcpctl.embedded.status import (
    Cause,
    StatusError,
    already_exists,
    bad_request,
    internal,
    invalid,
    method_not_allowed,
    not_found,
    not_served,
    success,
    unsupported_media_type,
)
from kcpctl.embedded.store import in_struct_order
from kcpctl.embedded.strategy import strategy_of
from kcpctl.embedded.user import UserInfo
from kcpctl.embedded.writer import APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, patched

__all__ = ["Answer", "ResourceHandler"]

Json = dict[str, Any]

_OBJECT_TRANSFORMS: Final = frozenset({"Table", "PartialObjectMetadata"})
LIST_TRANSFORMS: Final = frozenset({"Table", "PartialObjectMetadataList"})
_PATCH_TYPES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY)
_UPDATE_METHODS: Final = {
    "log": "g",
    "status": "gpu",
    "scale": "gpu",
    "approval": "gpu",
    "finalize": "u",
}
_METHOD_LETTERS: Final = {"get": "g", "patch": "p", "update": "u", "create": "c"}
_JOB_WARNING: Final = (
    "child pods are preserved by default when jobs are deleted; set "
    "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress "
    "this warning"
)
_FORWARDER: Final = "kcp"  # what virtual workspaces call themselves behind them
_STREAMS: Final = ("attach", "exec", "portforward")
_NO_STREAMS: Final = (
    "the embedded cluster starts no containers, so there is none to attach to, to run commands in "
    "or to forward ports to"
)
_ENDPOINTS_WARNING: Final = (
    "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
)


@dataclass(slots=True)
class Answer:
    """What to send back."""

    body: bytes
    status: int = 200
    media_type: str = "application/json"
    warnings: list[str] = field(default_factory=list)


class ResourceHandler:
    """Answers the requests on resources but watches. Every failure is a StatusError."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._registry = context.registry

    async def handle(
        self,
        http: web.BaseRequest,
        request: ApiRequest,
        info: ResourceInfo,
        cluster: str,
        user: UserInfo,
        scope: Scope = EVERYTHING,
    ) -> Answer:
        """Answer one request, on the objects in ``scope``."""
        call = _Call(self._context, http, request, info, cluster, user, scope)
        try:
            return await self._answer(call, request, info)
        except StatusError as error:
            # Whoever sent an unknown field is told of it, whatever else was wrong.
            error.warnings = call.warnings
            raise

    async def _answer(self, call: _Call, request: ApiRequest, info: ResourceInfo) -> Answer:
        if request.subresource:
            return await call.subresource()
        if request.verb not in info.verbs or (
            info.namespaced and not request.namespace and request.method != "GET"
        ):
            raise method_not_allowed()
        handlers: dict[str, Callable[[], Any]] = {
            "get": call.get,
            "list": call.list_collection,
            "create": call.create,
            "update": call.update,
            "patch": call.patch,
            "delete": call.delete,
            "deletecollection": call.delete_collection,
        }
        answer: Answer = await handlers[request.verb]()
        if info.storage_key == "endpoints":
            answer.warnings.append(_ENDPOINTS_WARNING)
        if info.crd is not None and info.crd.deprecation_warning:
            answer.warnings.append(info.crd.deprecation_warning)
        return answer


class _Call:
    """One request and everything it is about."""

    def __init__(
        self,
        context: ServerContext,
        http: web.BaseRequest,
        request: ApiRequest,
        info: ResourceInfo,
        cluster: str,
        user: UserInfo,
        scope: Scope,
    ) -> None:
        self._context = context
        self._registry = context.registry
        self._http = http
        self._request = request
        self._info = info
        self._cluster = cluster
        self._user = user
        self._scope = scope
        # What the client is told besides the answer; the writer adds to it.
        self.warnings: list[str] = []

    # -- shared ---------------------------------------------------------------------------

    @property
    def _namespace(self) -> str:
        return self._request.namespace if self._info.namespaced else ""

    def _negotiated(self, transforms: frozenset[str] = _OBJECT_TRANSFORMS) -> Representation:
        return negotiate(self._http.headers.get("Accept", ""), transforms=transforms)

    def _write_options(self) -> WriteOptions:
        request = self._request
        dry_run = request.query.get("dryRun", ())
        if any(value not in ("All", "") for value in dry_run):
            kind = {"create": "CreateOptions", "patch": "PatchOptions"}.get(
                request.verb, "UpdateOptions"
            )
            cause = Cause.not_supported("dryRun", list(dry_run), ("All",))
            raise invalid(kind, "meta.k8s.io", "", [cause])
        validation = request.value("fieldValidation") or "Warn"
        if validation not in ("Ignore", "Warn", "Strict"):
            choices = ("", "Ignore", "Strict", "Warn")
            cause = Cause.not_supported("fieldValidation", validation, choices)
            raise invalid("PatchOptions", "meta.k8s.io", "", [cause])
        agent = self._http.headers.get("User-Agent", "").split("/")[0]
        if self._scope.forwarded:
            agent = _FORWARDER
        return WriteOptions(
            user=self._user.username,
            field_manager=request.value("fieldManager") or agent or "unknown",
            field_validation=validation,  # type: ignore[arg-type]
            dry_run="All" in dry_run,
            force=request.flag("force"),
            trusted=False,
            forwarded=self._scope.forwarded,
            mutate=self._mutation(),
            admission=self._admission(),
            warnings=self.warnings,
        )

    def _mutation(self) -> Callable[[Json], None] | None:
        if self._scope.selector is None:
            return None
        return functools.partial(self._scope.bring_in, self._info)

    def _admission(self) -> Callable[[Json, str], None] | None:
        check = self._context.admission
        if check is None:
            return None
        where = (self._user, self._info, self._cluster, self._namespace)
        return lambda obj, subresource: check(*where, obj, subresource)

    def _object(
        self,
        obj: Json,
        *,
        status: int = 200,
        warnings: list[str] | None = None,
        info: ResourceInfo | None = None,
    ) -> Answer:
        """Return an object as the client wants it."""
        info = info or self._info
        representation = self._negotiated()
        if representation.transform == "Table":
            obj = table(
                info,
                [obj],
                {"resourceVersion": obj["metadata"].get("resourceVersion", "")},
                version=representation.transform_version,
                include_object=include_object_of(self._request.value("includeObject")),
                now=self._context.clock.time(),
            )
        elif representation.transform:
            obj = partial_metadata(obj, representation.transform_version)
        elif info.crd is None and "metadata" in obj:
            obj = in_struct_order(obj)
        body = encode(obj, representation)
        return Answer(body, status, representation.media_type, warnings or [])

    def _page(self, page: ListPage) -> Answer:
        """Return a list as the client wants it."""
        representation = self._negotiated(LIST_TRANSFORMS)
        info = self._info
        if not representation.transform and not representation.yaml:
            return Answer(list_bytes(info, page.items, page.metadata))
        objects = [self._registry.backend.converted(info, one.obj) for one in page.items]
        version = representation.transform_version
        shown: Json
        if representation.transform == "Table":
            shown = table(
                info,
                objects,
                page.metadata,
                version=version,
                include_object=include_object_of(self._request.value("includeObject")),
                now=self._context.clock.time(),
            )
        elif representation.transform:
            shown = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{version}",
                "metadata": page.metadata,
                "items": [partial_metadata(obj, version) for obj in objects],
            }
        else:
            shown = {
                "kind": info.list_kind,
                "apiVersion": info.api_version,
                "metadata": page.metadata,
                "items": objects,
            }
        return Answer(encode(shown, representation), media_type=representation.media_type)

    # -- verbs ----------------------------------------------------------------------------

    async def get(self) -> Answer:
        """GET an object."""
        version = self._request.value("resourceVersion")
        if version and not version.isdigit():
            raise internal(
                f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing '
                f'"{version}": invalid syntax'
            )
        await wait_for_revision(self._registry, int(version or "0"), self._context.clock)
        name, representation = self._request.name, self._negotiated()
        stored = self._registry.backend.stored(self._info, self._cluster, self._namespace, name)
        if stored is None or not self._scope.shows(stored.obj):
            raise not_found(self._info, name)
        if representation.transform or representation.yaml:
            return self._object(self._registry.backend.converted(self._info, stored.obj))
        convert = from_storage(self._info)
        return Answer(stored.encoded(self._info.api_version, convert) + b"\n")

    async def list_collection(self) -> Answer:
        """GET a collection."""
        self._negotiated(LIST_TRANSFORMS)
        selection = Selection.of(self._request, self._info, self._cluster, self._scope)
        page = await list_page(
            self._registry, self._info, self._request, selection, self._context.clock
        )
        return self._page(page)

    async def create(self) -> Answer:
        """POST to a collection."""
        if self._request.name:
            raise method_not_allowed()
        self._negotiated()
        body = await read_body(self._http)
        content_type = self._http.headers.get("Content-Type", "")
        decoded = decode_object(self._info, body, content_type)
        if self._info.virtual:
            answer = self._context.virtual.create(
                self._info, self._cluster, self._namespace, decoded.value, self._user
            )
            return self._object(answer, status=201)
        options = self._write_options()
        options.duplicates = decoded.duplicates
        made = self._registry.writer.create(
            self._info, self._cluster, self._namespace, decoded.value, options
        )
        return self._object(made, status=201, warnings=options.warnings)

    def _check_in_scope(self, error: Callable[[ResourceInfo, str], StatusError]) -> None:
        """Raise ``error`` when the object is there, but not in scope."""
        name = self._request.name
        stored = self._registry.backend.stored(self._info, self._cluster, self._namespace, name)
        if stored is not None and not self._scope.shows(stored.obj):
            raise error(self._info, name)

    async def update(self) -> Answer:
        """PUT an object."""
        return await self._put("")

    async def _put(self, subresource: str) -> Answer:
        if not self._request.name:
            raise method_not_allowed()
        self._negotiated()
        body = await read_body(self._http)
        decoded = decode_object(self._info, body, self._http.headers.get("Content-Type", ""))
        self._check_in_scope(not_found)
        options = self._write_options()
        options.duplicates = decoded.duplicates
        made, created = self._registry.writer.update(
            self._info,
            self._cluster,
            self._namespace,
            self._request.name,
            decoded.value,
            options,
            subresource=subresource,
        )
        return self._object(made, status=201 if created else 200, warnings=options.warnings)

    async def patch(self) -> Answer:
        """PATCH an object."""
        return await self._patch("")

    def _patch_type(self) -> str:
        found = parse_media_type(self._http.headers.get("Content-Type", ""))[0]
        if found in _PATCH_TYPES and not (found == STRATEGIC_PATCH and self._info.crd):
            return found
        if self._info.crd is not None:
            raise unsupported_media_type((JSON_PATCH, MERGE_PATCH, APPLY))
        raise unsupported_media_type(_PATCH_TYPES)

    async def _patch(self, subresource: str) -> Answer:
        if not self._request.name:
            raise method_not_allowed()
        self._negotiated()
        patch_type = self._patch_type()
        body = await read_body(self._http)
        decoded = decode_patch(
            body, is_apply=patch_type == APPLY, is_strategic=patch_type == STRATEGIC_PATCH
        )
        # What an apply does not see it creates.
        self._check_in_scope(already_exists if patch_type == APPLY else not_found)
        options = self._write_options()
        options.duplicates = decoded.duplicates
        self._check_patch_options(patch_type, options)
        made, created = self._registry.writer.patch(
            self._info,
            self._cluster,
            self._namespace,
            self._request.name,
            decoded.value,
            patch_type,
            options,
            subresource=subresource,
        )
        status = 201 if created and not options.forwarded else 200
        return self._object(made, status=status, warnings=options.warnings)

    def _check_patch_options(self, patch_type: str, options: WriteOptions) -> None:
        causes: list[Cause] = []
        if patch_type == APPLY:
            if not self._request.value("fieldManager"):
                detail = "is required for apply patch"
                causes.append(Cause.required("fieldManager", detail))
        elif options.force:
            causes.append(Cause.forbidden("force", "may not be specified for non-apply patch"))
        if causes:
            raise invalid("PatchOptions", "meta.k8s.io", "", causes)

    async def _delete_options(self) -> Json:
        """Return the DeleteOptions of the body, else of the query."""
        body = await read_body(self._http)
        if body:
            return decode_options(body, self._http.headers.get("Content-Type", ""))
        request = self._request
        options: Json = {}
        grace = request.integer("gracePeriodSeconds")
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if policy := request.value("propagationPolicy"):
            options["propagationPolicy"] = policy
        if "orphanDependents" in request.query:
            options["orphanDependents"] = request.flag("orphanDependents")
        if dry_run := request.query.get("dryRun"):
            options["dryRun"] = list(dry_run)
        return options

    async def delete(self) -> Answer:
        """DELETE an object."""
        self._negotiated()
        options = await self._delete_options()
        warnings = self._deletion_warnings(options)
        name = self._request.name
        stored = self._registry.backend.stored(self._info, self._cluster, self._namespace, name)
        if stored is not None:
            self._scope.check(self._info, stored.obj)
        deleted = self._registry.delete_with(
            self._info, self._cluster, self._namespace, name, options
        )
        if deleted.gone and not strategy_of(self._info).returns_object:
            status = success(self._info, name, deleted.object["metadata"]["uid"])
            representation = self._negotiated()
            return Answer(
                encode(status, representation),
                media_type=representation.media_type,
                warnings=warnings,
            )
        return self._object(deleted.object, warnings=warnings)

    def _deletion_warnings(self, options: Json) -> list[str]:
        says_how = {"propagationPolicy", "orphanDependents"} & options.keys()
        return [_JOB_WARNING] if self._info.storage_key == "jobs.batch" and not says_how else []

    async def delete_collection(self) -> Answer:
        """DELETE a collection."""
        self._negotiated(LIST_TRANSFORMS)
        options = await self._delete_options()
        selection = Selection.of(self._request, self._info, self._cluster, self._scope)
        page = await list_page(
            self._registry, self._info, self._request, selection, self._context.clock
        )
        objects = []
        for stored in page.items:
            meta = stored.obj["metadata"]
            where = (self._cluster, meta.get("namespace", ""), meta["name"])
            try:
                deleted = self._registry.delete_with(self._info, *where, options)
            except StatusError as error:
                if error.code == 404:
                    continue
                raise
            objects.append(deleted.object)
        metadata = {"resourceVersion": str(self._registry.store.revision)}
        if self._info.crd is not None:
            metadata = {"continue": "", **metadata}
        else:
            hidden = ("kind", "apiVersion")
            objects = [
                {key: value for key, value in obj.items() if key not in hidden} for obj in objects
            ]
        shown = {
            "kind": self._info.list_kind,
            "apiVersion": self._info.api_version,
            "metadata": metadata,
            "items": objects,
        }
        representation = self._negotiated(LIST_TRANSFORMS)
        return Answer(encode(shown, representation), media_type=representation.media_type)

    # -- subresources ---------------------------------------------------------------------

    async def subresource(self) -> Answer:
        """Answer a request on a subresource."""
        info, name = self._info, self._request.subresource
        if name not in info.subresources:
            if info.crd is not None and name in ("status", "scale"):
                raise not_found(info, self._request.name)
            if info.storage_key == "pods" and name in _STREAMS:
                raise StatusError(501, "NotImplemented", _NO_STREAMS)
            raise not_served()
        letters = _UPDATE_METHODS.get(name, "c")
        letter = _METHOD_LETTERS.get(self._request.verb, "-")
        if letter not in letters:
            raise self._not_supported()
        if name == "scale":
            return await self._scale()
        if name == "log":
            return self._log()
        if name in ("token", "binding", "eviction"):
            return await self._create_subresource(name)
        handlers: dict[str, Callable[[], Any]] = {
            "g": self.get,
            "u": lambda: self._put(name),
            "p": lambda: self._patch(name),
        }
        answer: Answer = await handlers[letter]()
        return answer

    def _log(self) -> Answer:
        """Return a container's output so far: ``follow`` does not wait for more."""
        request = self._request
        where = (self._namespace, request.name)
        pod = self._registry.get(self._info, self._cluster, *where)
        container = request.value("container")
        known = [entry["name"] for entry in pod["spec"]["containers"]]
        if container and container not in known:
            raise bad_request(f"container {container} is not valid for pod {request.name}")
        read = self._context.read_log
        text = b""
        if read is not None:
            text = read(
                *where,
                container,
                tail_lines=request.integer("tailLines"),
                previous=request.flag("previous"),
            )
        return Answer(text, media_type="text/plain")

    def _not_supported(self) -> StatusError:
        info = self._info
        if info.crd is None:
            return method_not_allowed()
        message = (
            f'{self._request.verb} is not supported on resources of kind "{info.group_resource}"'
        )
        details = {"group": info.group, "kind": info.plural}
        return StatusError(405, "MethodNotAllowed", message, details)

    async def _scale(self) -> Answer:
        name, verb = self._request.name, self._request.verb
        where = (self._info, self._cluster, self._namespace, name)
        if verb == "get":
            return self._object(scale_of(self._info, self._registry.get(*where)), info=SCALE_INFO)
        body = await read_body(self._http)
        options = self._write_options()
        if verb == "update":
            decoded = decode_object(SCALE_INFO, body, self._http.headers.get("Content-Type", ""))
            made = self._registry.writer.scale(*where, lambda _: decoded.value, options)
        else:
            patch_type = self._patch_type()
            decoded = decode_patch(body, is_apply=patch_type == APPLY, is_strategic=False)
            if patch_type in (STRATEGIC_PATCH, APPLY):
                patch_type = MERGE_PATCH  # a Scale has no lists: merging is all there is
            made = self._registry.writer.scale(
                *where, lambda old: patched(SCALE_INFO, old, decoded.value, patch_type), options
            )
        return self._object(made, info=SCALE_INFO)

    async def _create_subresource(self, subresource: str) -> Answer:
        body = await read_body(self._http)
        kinds = {"token": "TokenRequest", "binding": "Binding", "eviction": "Eviction"}
        groups = {"token": "authentication.k8s.io", "binding": "", "eviction": "policy"}
        kind = ResourceInfo(groups[subresource], "v1", subresource, kinds[subresource])
        decoded = decode_object(kind, body, self._http.headers.get("Content-Type", ""))
        where = (self._info, self._cluster, self._namespace, self._request.name)
        obj = self._registry.get(*where)
        if subresource == "token":
            answer = self._context.virtual.create_token(
                self._cluster, self._namespace, obj, decoded.value, self._user
            )
            return self._object(answer, status=201)
        if subresource == "eviction":
            self._registry.delete_with(*where, decoded.value.get("deleteOptions"))
        else:
            pod = bound_pod(obj, decoded.value, self._registry.backend.now())
            self._registry.backend.put(self._info, self._cluster, pod)
        return self._created()

    def _created(self) -> Answer:
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "code": 201,
        }
        return Answer(encode(status, Representation()), status=201)
