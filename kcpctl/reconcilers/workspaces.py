"""Other workspaces than one's own: what they are called, and what may be used there (1.1, 2.4)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, NamedTuple

from kcpctl.apis.conditions import WARNING
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import LOGICAL_CLUSTERS, SUBJECT_ACCESS_REVIEWS, Resource
from kcpctl.client import Client, reaching
from kcpctl.errors import Forbidden, NotFound
from kcpctl.logicalcluster import is_valid_path
from kcpctl.reconcilers.problem import (
    CLUSTER_REF_NOT_FOUND,
    INVALID_CONFIGURATION,
    PERMISSION_DENIED,
    Problem,
    Unusable,
)
from kcpctl.runtime import SYSTEM_CLOCK, Clock

__all__ = ["Permission", "Workspaces", "is_being_deleted"]

# A kcp allows nothing to whoever may not enter the workspace (4.7).
_ACCESS_ROLE: Final = "system:kcp:workspace:access"


class Permission(NamedTuple):
    """A verb on one object."""

    verb: str
    resource: Resource
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a server said, and when on the monotonic clock."""

    at: float
    allowed: bool = False
    cluster: str = ""


class Workspaces:
    """Asks the server what a workspace is called, and what another one may do in it.

    The one that asks is known as kcp knows a ServiceAccount of it elsewhere: the group
    ``system:cluster:<its logical cluster>``, and the user ``system:kcp:serviceaccount:...`` of the
    ServiceAccount ``default`` in the namespace of the credentials. An answer counts for
    ``cache_seconds``; without an answer nothing is allowed. What is asked here is what a
    confined reconcile sends elsewhere, and all of it.

    Blocks; raises Unusable for a no, and what the client raises. Any worker thread.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        cache_seconds: float = 30.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # Guarded by _lock.
        self._names: dict[str, _Answer] = {}
        self._permissions: dict[str, dict[tuple[str, Permission], _Answer]] = {}
        self._swept_at = clock.monotonic()

    def resolve(self, workspace: str) -> str:
        """Return the name of the logical cluster that has this path or name."""
        if not self._client.is_multi_cluster:
            raise Unusable(
                Problem(
                    INVALID_CONFIGURATION,
                    f"{workspace!r} names another workspace, but the controllers serve one cluster "
                    f"alone ({self._client.url}); put the ClusterRegistration there and leave the "
                    "workspace out, or run the controllers for all logical clusters",
                ),
                invalid=True,
            )
        if not is_valid_path(workspace):
            message = f"{workspace!r} is neither a workspace path nor a logical cluster name"
            raise Unusable(Problem(INVALID_CONFIGURATION, message), invalid=True)
        with self._lock:
            known = self._names.get(workspace)
        if known is None or not self._is_fresh(known):
            known = _Answer(self._clock.monotonic(), cluster=self._ask_name(workspace))
            with self._lock:
                self._sweep()
                self._names[workspace] = known
        if not known.cluster:
            raise _not_found(workspace)
        return known.cluster

    def require(
        self, asker: str, cluster: str, permission: Permission, *, called: str = ""
    ) -> None:
        """Raise Unusable unless the workspace ``asker`` has a permission in ``cluster``.

        That says what the asker ``called`` it: the name behind a path is for those who may know.
        """
        question = (cluster, permission)
        with self._lock:
            known = self._permissions.get(asker, {}).get(question)
        if known is None or not self._is_fresh(known):
            now = self._clock.monotonic()  # the answer is at least as old as the question
            known = _Answer(now, allowed=self._ask_permission(asker, cluster, permission))
            with self._lock:
                self._sweep()
                self._permissions.setdefault(asker, {})[question] = known
        if not known.allowed:
            raise self._denied(asker, called or cluster, permission)

    def due_seconds(self, asker: str) -> float:
        """Return after how long the oldest answer for a workspace no longer counts."""
        now = self._clock.monotonic()
        with self._lock:
            answers = list(self._permissions.get(asker, {}).values())
        left = [answer.at + self._cache_seconds - now for answer in answers]
        return min([self._cache_seconds, *(one for one in left if one > 0)])

    def paths_of(self, cluster: str) -> list[str]:
        """Return by which words a logical cluster was named lately."""
        with self._lock:
            return [path for path, known in self._names.items() if known.cluster == cluster]

    def _is_fresh(self, answer: _Answer) -> bool:
        return self._clock.monotonic() - answer.at < self._cache_seconds

    def _sweep(self) -> None:
        """Drop what has not been asked again for long; the lock is held."""
        now = self._clock.monotonic()
        if now - self._swept_at < self._cache_seconds:
            return
        self._swept_at = now
        oldest = now - 2 * self._cache_seconds
        self._names = {path: one for path, one in self._names.items() if one.at > oldest}
        kept = {
            asker: {question: one for question, one in answers.items() if one.at > oldest}
            for asker, answers in self._permissions.items()
        }
        self._permissions = {asker: answers for asker, answers in kept.items() if answers}

    def _ask_name(self, workspace: str) -> str:
        try:
            with reaching(workspace):
                return self._client.cluster(workspace).logical_cluster_name() or ""
        except NotFound as error:
            # A fleet knows how a workspace comes into it.
            problem = Problem(CLUSTER_REF_NOT_FOUND, _sentence(error.message), WARNING)
            raise Unusable(problem, invalid=True) from None

    def _ask_permission(self, asker: str, cluster: str, permission: Permission) -> bool:
        resource = permission.resource
        attributes = {
            "verb": permission.verb,
            "group": resource.group,
            "version": resource.version,
            "resource": resource.plural,
            "namespace": permission.namespace,
            "name": permission.name,
        }
        review = {
            "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": SUBJECT_ACCESS_REVIEWS.kind,
            "spec": {
                "user": self._user(asker),
                "groups": ["system:authenticated", _group(asker)],
                "resourceAttributes": {key: value for key, value in attributes.items() if value},
            },
        }
        try:
            with reaching(cluster):
                reviews = self._client.cluster(cluster).resource(SUBJECT_ACCESS_REVIEWS)
                answer: Unstructured = reviews.create(review)
        except NotFound:
            raise _not_found(cluster) from None
        except Forbidden as error:
            raise Unusable(
                Problem(
                    PERMISSION_DENIED,
                    f"The controllers may not ask what is allowed in workspace {cluster!r} "
                    f"({error.message}); grant them create on {_plural(SUBJECT_ACCESS_REVIEWS)} "
                    "there, or through an APIExport accept that claim in its APIBinding",
                )
            ) from None
        return (answer.get("status") or {}).get("allowed") is True

    def _user(self, asker: str) -> str:
        return f"system:kcp:serviceaccount:{asker}:{self._namespace}:default"

    def _denied(self, asker: str, called: str, permission: Permission) -> Unusable:
        name = f"{permission.namespace}/{permission.name}".removeprefix("/")
        return Unusable(
            Problem(
                PERMISSION_DENIED,
                f"This workspace lacks the verb {permission.verb!r} on "
                f"{_plural(permission.resource)} {name!r} in the workspace {called!r}; have it "
                f"granted there to the group {_group(asker)!r} or the user {self._user(asker)!r}, "
                f"and on a kcp the ClusterRole {_ACCESS_ROLE} too",
            )
        )


def is_being_deleted(workspace: Client) -> bool:
    """Whether a whole workspace is being deleted, as far as it lets anybody look; blocks."""
    if not workspace.is_multi_cluster:
        return False
    try:
        found = workspace.resource(LOGICAL_CLUSTERS).get("cluster")
    except (Forbidden, NotFound):
        return False
    return bool(found["metadata"].get("deletionTimestamp"))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _group(asker: str) -> str:
    return f"system:cluster:{asker}"


def _plural(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}".removesuffix(".")


def _not_found(workspace: str) -> Unusable:
    return Unusable(
        Problem(
            CLUSTER_REF_NOT_FOUND,
            f"Workspace {workspace!r} does not exist, or the controllers may not enter it; create "
            "it or correct the workspace in the spec",
            WARNING,
        ),
        invalid=True,
    )
