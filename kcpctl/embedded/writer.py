"""Create, update, patch and apply: from an admitted object to a commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from kcpctl.embedded.backend import Backend
from kcpctl.embedded.crds import CRD_KEY
from kcpctl.embedded.deletion import is_finished
from kcpctl.embedded.exports.kinds import APIBINDINGS_KEY
from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.metadata import (
    bumps_generation,
    check_address,
    check_preconditions,
    inherit,
    prepare_create,
    tidy,
)
from kcpctl.embedded.objects import copy_json, same_but_times, without
from kcpctl.embedded.patch import (
    json_patch,
    merge_patch,
    server_side_apply,
    strategic_merge_patch,
    track_update,
)
from kcpctl.embedded.pipeline import WriteOptions, admit, object_schema, validate_object
from kcpctl.embedded.scale import scale_of, with_replicas
from kcpctl.embedded.services import allocate
from kcpctl.embedded.status import (
    Cause,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    internal,
    invalid,
    not_found,
    unsupported_media_type,
)
from kcpctl.embedded.store import ObjectKey
from kcpctl.embedded.strategy import strategy_of
from kcpctl.embedded.validation import validate_metadata, validate_metadata_update

__all__ = ["APPLY", "JSON_PATCH", "MERGE_PATCH", "STRATEGIC_PATCH", "Writer"]

Json = dict[str, Any]

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

_NAME_ATTEMPTS: Final = 8
# What a status, approval or finalize endpoint writes; everything else stays as it is.
_WRITTEN_BY: Final = {"status": "status", "approval": "status", "finalize": "spec"}


class Writer:
    """Writes objects. Event loop's thread only; every failure is a StatusError.

    Objects that are passed in belong to the writer; objects that come back are the stored ones.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    # -- create ---------------------------------------------------------------------------

    def create(
        self, info: ResourceInfo, cluster: str, namespace: str, obj: Json, options: WriteOptions
    ) -> Json:
        """Create an object."""
        obj = admit(info, obj, options)
        tidy(obj)
        check_address(info, obj, namespace)
        return self._create(info, cluster, obj, options, tracked=False)

    def _create(
        self,
        info: ResourceInfo,
        cluster: str,
        obj: Json,
        options: WriteOptions,
        *,
        tracked: bool,
    ) -> Json:
        if options.mutate is not None:
            options.mutate(obj)
        meta = obj["metadata"]
        self._check_place(info, cluster, meta.get("namespace", ""), meta.get("name", ""))
        version = meta.pop("resourceVersion", "")
        for _ in range(_NAME_ATTEMPTS):
            fresh = {**obj, "metadata": dict(meta)}
            prepare_create(
                info,
                fresh,
                uid=self._backend.new_uid(),
                now=self._backend.now(),
                rng=self._backend.rng,
            )
            name, namespace = fresh["metadata"].get("name", ""), meta.get("namespace", "")
            existing = self._backend.stored(info, cluster, namespace, name)
            if existing is None or meta.get("name"):
                break
        fresh = self._prepared(info, cluster, fresh, options, tracked=tracked)
        if existing is not None:
            error = already_exists(info, name)
            if existing.obj["metadata"].get("deletionTimestamp"):
                error.message = f"object is being deleted: {error.message}"
            raise error
        if version:
            raise internal("resourceVersion should not be set on objects to be created")
        if options.dry_run:
            self._backend.annotate(info, cluster, fresh)
            return fresh
        return self._backend.put(info, cluster, fresh)

    def _prepared(
        self, info: ResourceInfo, cluster: str, obj: Json, options: WriteOptions, *, tracked: bool
    ) -> Json:
        """Return a new object as it is to be stored; raises 422."""
        strategy = strategy_of(info)
        gets_status = info.has_status and not (strategy.keeps_status and "status" in obj)
        if gets_status:
            obj.pop("status", None)
        strategy.fold(obj)
        if not tracked:
            obj = self._track(info, None, obj, "", options)
        if gets_status and strategy.initial_status is not None:
            obj["status"] = strategy.initial_status(obj)
        strategy.prepare(obj, None)
        causes = self._allocate(info, cluster, obj, None)
        if options.admission is not None:
            options.admission(obj, "")
        name_rule = strategy.name_rule
        causes = validate_metadata(info, obj["metadata"], name_rule) + causes
        causes += validate_object(info, obj, None)
        self._raise_invalid(info, obj, causes)
        return obj

    def _check_place(self, info: ResourceInfo, cluster: str, namespace: str, name: str) -> None:
        """Raise unless new objects of this kind may be made here."""
        definition = self._definition(info, cluster)
        if definition is not None and definition["metadata"].get("deletionTimestamp"):
            raise forbidden(
                info, name, "create not allowed while custom resource definition is terminating"
            )
        if not info.namespaced:
            return
        namespaces = self._backend.kinds.storage_info(cluster, "namespaces")
        assert namespaces is not None
        found = self._backend.find(namespaces, cluster, "", namespace)
        if found is None:
            raise not_found(namespaces, namespace)
        if found["metadata"].get("deletionTimestamp"):
            error = forbidden(
                info,
                name,
                f"unable to create new content in namespace {namespace} because it is being "
                "terminated",
            )
            cause = Cause(
                "NamespaceTerminating",
                f"namespace {namespace} is being terminated",
                "metadata.namespace",
            )
            error.details = {**(error.details or {}), "causes": [cause.to_dict()]}
            raise error

    def _definition(self, info: ResourceInfo, cluster: str) -> Json | None:
        """Return the CRD or APIBinding that a resource is there by; None for built-in ones."""
        if info.identity:
            name = self._backend.kinds.holder(cluster, info.storage_key) or ""
            found = self._backend.store.get(APIBINDINGS_KEY, ObjectKey(cluster, "", name))
        elif info.crd is not None and info.crd.crd_name:
            found = self._backend.store.get(CRD_KEY, ObjectKey(cluster, "", info.crd.crd_name))
        else:
            return None
        return None if found is None else found.obj

    # -- update ---------------------------------------------------------------------------

    def update(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        obj: Json,
        options: WriteOptions,
        *,
        subresource: str = "",
    ) -> tuple[Json, bool]:
        """Replace an object; the second value says whether it was created."""
        old = self._backend.find(info, cluster, namespace, name)
        obj = admit(info, obj, options)
        tidy(obj)
        check_address(info, obj, namespace, name)
        if old is None:
            if strategy_of(info).creates_on_update and not subresource:
                return self._create(info, cluster, obj, options, tracked=False), True
            raise not_found(info, name)
        if strategy_of(info).requires_version and not options.trusted:
            self._require_version(info, obj)
        return self._update(info, cluster, old, obj, options, subresource), False

    def _require_version(self, info: ResourceInfo, obj: Json) -> None:
        meta = obj["metadata"]
        if not meta.get("resourceVersion"):
            cause = Cause.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(info.plural, info.group, meta["name"], [cause])

    def _update(
        self,
        info: ResourceInfo,
        cluster: str,
        old: Json,
        new: Json,
        options: WriteOptions,
        subresource: str,
        *,
        tracked: bool = False,
        is_patch: bool = False,
    ) -> Json:
        """Commit the step from ``old`` to ``new`` (admitted, tidy); returns what is stored."""
        if options.mutate is not None:
            options.mutate(new)
        self._identify(info, old, new, is_patch=is_patch)
        new = self._isolated(info, new, old, subresource)
        strategy_of(info).fold(new)
        self._prepare_status(info, new, old, subresource)
        self._backend.annotate(info, cluster, new)
        if not tracked:
            new = self._track(info, old, new, subresource, options)
        if subresource in ("", "scale"):
            strategy_of(info).prepare(new, old)
        causes = self._allocate(info, cluster, new, old) if not subresource else []
        if subresource in ("", "scale") and bumps_generation(info, new, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if options.admission is not None:
            options.admission(new, subresource)
        causes += validate_metadata(info, new["metadata"], strategy_of(info).name_rule)
        causes += validate_metadata_update(new["metadata"], old["metadata"])
        causes += validate_object(info, new, old)
        self._raise_invalid(info, new, causes)
        return self._commit(info, cluster, old, new, options)

    def _identify(self, info: ResourceInfo, old: Json, new: Json, *, is_patch: bool) -> None:
        """Raise 409 unless ``new`` is about ``old``, and give it what never changes."""
        meta = old["metadata"]
        where = (info.group, info.plural, meta.get("namespace", ""), meta["name"])
        path = "/".join(part for part in ("/registry", *where) if part)
        if is_patch:
            # A patch with a foreign uid is an attempt to change it; a PUT names its object.
            check_preconditions(info, {"metadata": without(new["metadata"], "uid")}, old, path)
        else:
            check_preconditions(info, new, old, path)
        uid = new["metadata"].get("uid") or meta["uid"]
        inherit(new, old)
        new["metadata"]["uid"] = uid

    def _prepare_status(self, info: ResourceInfo, new: Json, old: Json, subresource: str) -> None:
        strategy = strategy_of(info)
        endpoints = {"status": strategy.prepare_status, "approval": strategy.prepare_approval}
        prepare = endpoints.get(subresource)
        if prepare is not None:
            prepare(new, old, self._backend.now())

    def _commit(
        self, info: ResourceInfo, cluster: str, old: Json, new: Json, options: WriteOptions
    ) -> Json:
        if same_but_times(new, old):
            return old
        meta = old["metadata"]
        if is_finished(info, new):
            if not options.dry_run:
                self._backend.remove(info, cluster, meta.get("namespace", ""), meta["name"])
            return new
        if options.dry_run:
            return new
        return self._backend.put(info, cluster, new)

    def _isolated(self, info: ResourceInfo, new: Json, old: Json, subresource: str) -> Json:
        """Return ``new`` with everything that this endpoint does not write as it was."""
        written = _WRITTEN_BY.get(subresource)
        if written is None:
            if info.has_status:
                new = without(new, "status")
                if "status" in old:
                    new["status"] = old["status"]
            return new
        isolated = {**old, "metadata": new["metadata"]}
        isolated.pop(written, None)
        if written in new:
            isolated[written] = new[written]
        if subresource == "finalize":
            managed = new["metadata"].get("managedFields")
            isolated["metadata"] = dict(old["metadata"])
            if managed:
                isolated["metadata"]["managedFields"] = managed
            return isolated
        resets = strategy_of(info).status_resets
        if info.storage_key == CRD_KEY:
            resets = ("labels", "annotations", "finalizers", "ownerReferences")
        for field in resets:
            isolated["metadata"].pop(field, None)
            if field in old["metadata"]:
                isolated["metadata"][field] = old["metadata"][field]
        return isolated

    # -- patch ----------------------------------------------------------------------------

    def patch(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        body: Any,
        content_type: str,
        options: WriteOptions,
        *,
        subresource: str = "",
    ) -> tuple[Json, bool]:
        """Patch an object; the second value says whether it was created (by an apply)."""
        old = self._backend.find(info, cluster, namespace, name)
        if content_type == APPLY:
            return self._apply(info, cluster, namespace, name, old, body, options, subresource)
        if old is None:
            raise not_found(info, name)
        new = patched(info, old, body, content_type)
        try:
            new = admit(info, new, options)
        except StatusError as error:
            raise _undecodable(info, new, body, content_type, error) from error
        tidy(new)
        self._check_patched(info, new, old)
        done = self._update(info, cluster, old, new, options, subresource, is_patch=True)
        return done, False

    def _check_patched(self, info: ResourceInfo, new: Json, old: Json) -> None:
        meta, old_meta = new["metadata"], old["metadata"]
        if info.namespaced and meta.get("namespace") != old_meta.get("namespace"):
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        if meta.get("name") != old_meta["name"]:
            raise bad_request(
                f"the name of the object ({meta.get('name', '')}) does not match the name on the "
                f"URL ({old_meta['name']})"
            )

    def _apply(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        old: Json | None,
        body: Any,
        options: WriteOptions,
        subresource: str,
    ) -> tuple[Json, bool]:
        if old is None and subresource:
            raise not_found(info, name)
        applied = self._appliable(info, body, namespace, name)
        uid = applied["metadata"].get("uid")
        if old is None and uid:
            raise conflict(
                info,
                name,
                f"uid mismatch: the provided object specified uid {uid}, and no existing object "
                "was found",
            )
        merged = server_side_apply(
            old,
            applied,
            options.field_manager,
            object_schema(info),
            force=options.force,
            now=self._backend.clock.time(),
            api_version=info.api_version,
            subresource=subresource,
            reset_fields=_reset_fields(info, subresource),
        )
        merged = admit(info, merged, WriteOptions())
        tidy(merged)
        tracked = not options.forwarded
        if old is None:
            check_address(info, merged, namespace, name)
            return self._create(info, cluster, merged, options, tracked=tracked), True
        done = self._update(
            info, cluster, old, merged, options, subresource, tracked=tracked, is_patch=True
        )
        return done, False

    def _appliable(self, info: ResourceInfo, body: Any, namespace: str, name: str) -> Json:
        """Return a checked apply configuration with its namespace; raises 400."""
        if not isinstance(body, dict):
            raise bad_request("error decoding YAML: the body is not an object")
        meta = body.get("metadata")
        own_name = meta.get("name") if isinstance(meta, dict) else None
        if not own_name:
            raise bad_request(
                f"the name of the object ({name} based on URL) was undeterminable: name must be "
                "provided"
            )
        if own_name != name:
            raise bad_request(
                f"the name of the object ({own_name}) does not match the name on the URL ({name})"
            )
        applied = {**body, "metadata": dict(body["metadata"])}
        if info.namespaced:
            own = applied["metadata"].get("namespace") or namespace
            if own != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on "
                    "the request"
                )
            applied["metadata"]["namespace"] = namespace
        return applied

    # -- scale ----------------------------------------------------------------------------

    def scale(
        self,
        info: ResourceInfo,
        cluster: str,
        namespace: str,
        name: str,
        change: Callable[[Json], Json],
        options: WriteOptions,
    ) -> Json:
        """Write an object's Scale as ``change`` makes it of the present one."""
        old = self._backend.find(info, cluster, namespace, name)
        if old is None:
            raise not_found(info, name)
        new = with_replicas(info, old, change(scale_of(info, old)))
        tidy(new)
        return scale_of(info, self._update(info, cluster, old, new, options, "scale"))

    # -- shared ---------------------------------------------------------------------------

    def _allocate(
        self, info: ResourceInfo, cluster: str, obj: Json, old: Json | None
    ) -> list[Cause]:
        if info.storage_key != "services":
            return []
        name = (obj["metadata"].get("namespace"), obj["metadata"].get("name"))
        others = [
            stored.obj
            for key, stored in self._backend.store.list(info.storage_key, cluster)
            if (key.namespace, key.name) != name
        ]
        return allocate(obj, old, others, self._backend.rng)

    def _track(
        self,
        info: ResourceInfo,
        old: Json | None,
        new: Json,
        subresource: str,
        options: WriteOptions,
    ) -> Json:
        return track_update(
            old,
            new,
            options.field_manager,
            object_schema(info),
            now=self._backend.clock.time(),
            api_version=info.api_version,
            subresource=subresource,
        )

    def _raise_invalid(self, info: ResourceInfo, obj: Json, causes: list[Cause]) -> None:
        if causes:
            raise invalid(info.kind, info.group, obj["metadata"].get("name", ""), causes)


def _reset_fields(info: ResourceInfo, subresource: str) -> tuple[str, ...]:
    if subresource == "status":
        return ("spec",)
    return ("status",) if info.has_status else ()


def patched(info: ResourceInfo, old: Json, body: Any, content_type: str) -> Json:
    """Return a changed copy of ``old``; raises what the patch functions raise, and 415."""
    if content_type == JSON_PATCH:
        return json_patch(copy_json(old), body)
    if content_type == MERGE_PATCH:
        return merge_patch(old, body)
    if content_type == STRATEGIC_PATCH and info.crd is None:
        return strategic_merge_patch(old, body, object_schema(info))
    raise _unsupported(info)


def _go_text(value: Any) -> str:
    """Return a value as Go's ``%+v`` prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(_go_text(item) for item in value)}]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _undecodable(
    info: ResourceInfo, new: Json, body: Any, content_type: str, error: StatusError
) -> StatusError:
    """Return the 422 for a patch whose result cannot be decoded."""
    prefix = f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: '
    detail = error.message.removeprefix(prefix)
    value = msgspec.json.encode(new).decode()
    if content_type == STRATEGIC_PATCH:
        value = _go_text(body)
        _, is_type, go_type = detail.partition("json: cannot unmarshal ")[2].rpartition(" of type ")
        detail = f"unrecognized type: {go_type}" if is_type else detail
    cause = Cause.invalid("patch", value, detail)
    return invalid("", "", "", [cause])


def _unsupported(info: ResourceInfo) -> StatusError:
    if info.crd is None:
        return StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    return unsupported_media_type((JSON_PATCH, MERGE_PATCH, APPLY))
