"""What is made of informers asks of them, whether they are of one server or of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypedDict, TypeVar, Unpack, overload

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import Resource
from kcpctl.client import Write
from kcpctl.informers.handlers import AnyHandler, Registration
from kcpctl.informers.ignoring import Ignore
from kcpctl.informers.indexes import IndexFunction
from kcpctl.informers.lister import Lister
from kcpctl.informers.objects import CachedObject, Transform
from kcpctl.informers.scope import Cache

__all__ = ["Informer", "InformerOptions", "Informers"]

T = TypeVar("T")


class InformerOptions(TypedDict, total=False):
    """What narrows or changes an informer; see :class:`kcpctl.informers.SharedInformer`."""

    namespace: str | None
    label_selector: str
    field_selector: str
    metadata_only: bool
    transform: Transform | None
    compact: bool
    ignore: Ignore | None


class Informer(Protocol[T]):
    """A :class:`SharedInformer` or an :class:`AggregateInformer`. Any thread."""

    description: str
    lister: Lister[T]

    @property
    def synced(self) -> bool:
        """Whether the full state is stored."""

    @property
    def spans_clusters(self) -> bool:
        """Whether it shows the objects of many logical clusters."""

    def cache_of(self, write: Write) -> Cache | None:
        """Return what will have seen a write when its version is reached, None if nothing will."""

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Add an index; raises ValueError for a name in use."""

    def add_handler(
        self,
        handler: AnyHandler,
        *,
        matches: Callable[[CachedObject], bool] | None = None,
        buffered: bool = False,
        resync_seconds: float = 0.0,
    ) -> Registration:
        """Let ``handler`` hear of what is stored and of every change."""


class Informers(Protocol):
    """An :class:`InformerFactory` or an :class:`AggregateFactory`."""

    @overload
    def informer(
        self, resource: Resource, **options: Unpack[InformerOptions]
    ) -> Informer[Unstructured]: ...

    @overload
    def informer(
        self, resource: Resource, type: type[T], **options: Unpack[InformerOptions]
    ) -> Informer[T]: ...
