"""Who names whom: indexes that find SyncTargets and ClusterRegistrations by what they refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from kcpctl.apis.tmc import ClusterRegistration
from kcpctl.apis.workload import SyncTarget
from kcpctl.informers import CachedObject, IndexFunction, Informer
from kcpctl.reconcilers.credentials import CredentialSource, reference_of

__all__ = ["REGISTRATION_INDEX", "SECRET_INDEX", "add_indexes"]

SECRET_INDEX: Final = "by-secret"
"""On SyncTargets and ClusterRegistrations: keys of the Secrets that they depend on directly."""
REGISTRATION_INDEX: Final = "by-registration"
"""On SyncTargets: key of the ClusterRegistration that they may resolve through.

One of another workspace is named as the spec has it: its logical cluster may be written as a path.
"""


def add_indexes(
    targets: Informer[SyncTarget],
    registrations: Informer[ClusterRegistration],
    credentials: CredentialSource,
) -> None:
    """Add the indexes; another controller of the same informers may have done so already."""
    _add(targets, SECRET_INDEX, _secrets_of_target(credentials))
    _add(targets, REGISTRATION_INDEX, _registration_of_target)
    _add(registrations, SECRET_INDEX, _secrets_of_registration(credentials))


def _add(informer: Informer[Any], name: str, function: IndexFunction) -> None:
    with suppress(ValueError):  # the name is in use
        informer.add_index(name, function)


def _secrets_of_target(credentials: CredentialSource) -> Callable[[CachedObject], Iterable[str]]:
    def keys(obj: CachedObject) -> Iterable[str]:
        return credentials.secret_keys(obj.decode(SyncTarget).spec, obj.cluster)

    return keys


def _registration_of_target(obj: CachedObject) -> Iterable[str]:
    reference = reference_of(obj.decode(SyncTarget), obj.cluster)
    return (reference.key(obj.cluster),) if reference else ()


def _secrets_of_registration(
    credentials: CredentialSource,
) -> Callable[[CachedObject], Iterable[str]]:
    def keys(obj: CachedObject) -> Iterable[str]:
        registration = obj.decode(ClusterRegistration)
        return credentials.registration_secret_keys(registration, obj.cluster)

    return keys
