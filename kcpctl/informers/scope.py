"""The scope of an informer: which objects of a server it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kcpctl.apis.resource import Resource
from kcpctl.client import AsyncClient, Write
from kcpctl.informers.objects import ObjectDecoder, Transform
from kcpctl.informers.selectors import parse_selector
from kcpctl.informers.source import ClientSource, ListerWatcher, StreamingClientSource

__all__ = ["Cache", "Scope"]


class Cache(Protocol):
    """A store that says which version of its collection it has reached."""

    @property
    def resource_version(self) -> str:
        """That version, "" while it has none."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource of what a client reaches, narrowed by namespace and selectors.

    With ``metadata_only`` no more than the metadata of its objects.
    """

    client: AsyncClient
    resource: Resource
    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False

    def __str__(self) -> str:
        """How it is narrowed; "" if it is not."""
        metadata = "metadata" if self.metadata_only else ""
        parts = (self.namespace, self.label_selector, self.field_selector, metadata)
        return ",".join(part for part in parts if part)

    def source(self, *, streaming: bool) -> ListerWatcher:
        """Return where to get the objects from."""
        return (StreamingClientSource if streaming else ClientSource)(
            self.client,
            self.resource,
            namespace=self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            metadata_only=self.metadata_only,
        )

    def decoder(self, transform: Transform | None, *, compact: bool) -> ObjectDecoder:
        """Return what makes cached objects of them."""
        return ObjectDecoder(
            self.resource,
            cluster=self.client.cluster_name,
            multi_cluster=self.client.is_multi_cluster,
            transform=transform,
            metadata_only=self.metadata_only,
            compact=compact,
        )

    def covers(self, write: Write) -> bool:
        """Whether the object of a write is one of these, so that its event is bound to come.

        False where that cannot be told: versions of another server mean nothing here (CS-11), nor
        does a field selector tell from metadata which objects it leaves out (CS-09). Of a group's
        versions each shows every object.
        """
        return (
            write.resource.group_resource == self.resource.group_resource
            and write.server == self.client.server
            and (self.client.is_wildcard or write.url == self.client.url)
            and (not self.namespace or write.namespace == self.namespace)
            and not self.field_selector
            and self._selects(write)
        )

    def _selects(self, write: Write) -> bool:
        try:
            matches = parse_selector(self.label_selector)
        except ValueError:
            return False
        return matches is None or matches(write.labels)
