"""The APIExportEndpointSlice: where an export is served."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from kcpctl.apis.kcp import API_EXPORT_ENDPOINT_SLICES, APIExportEndpointSlice, ExportReference
from kcpctl.client import AsyncClient
from kcpctl.informers import CachedObject, HandlerFuncs, SharedInformer
from kcpctl.manager.fleet.endpoint import explain
from kcpctl.runtime import Clock, Metrics, TaskSet, get_logger

__all__ = ["EndpointSlice"]

_log = get_logger(__name__)


class EndpointSlice:
    """Watches the slice of one export, and tells which URLs it has.

    ``on_urls`` is called on the I/O thread with all of them whenever they change, and with none
    when the slice is gone. While there is no slice that is said once, as a warning. The client
    belongs to it from here on; ``start`` and ``close`` are of the I/O loop.
    """

    def __init__(
        self,
        client: AsyncClient,
        export: ExportReference,
        on_urls: Callable[[Sequence[str]], object],
        *,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics | None,
    ) -> None:
        self._is_missing = True
        self._client = client
        self._export = export
        self._on_urls = on_urls
        self._tasks = TaskSet(f"endpoint slice {export.name}")
        self._informer: SharedInformer[APIExportEndpointSlice] = SharedInformer(
            client,
            API_EXPORT_ENDPOINT_SLICES,
            APIExportEndpointSlice,
            field_selector=f"metadata.name={export.name}",
            name="fleet",
            clock=clock,
            rng=rng,
            metrics=metrics,
        )

    def problem(self) -> str:
        """Return why the URLs are not known, "" when they are. Any thread."""
        if not self._is_missing:
            return ""
        error = self._informer.last_error
        return self._what_is_missing() if error is None else explain(error, self._export)

    async def start(self) -> None:
        """Watch from now on."""
        self._informer.add_handler(
            HandlerFuncs(
                on_add=self._published,
                on_update=lambda _, new: self._published(new),
                on_delete=lambda _: self._withdrawn(),
            )
        )
        self._tasks.spawn(self._informer.run(), name="watch")
        self._tasks.spawn(self._look(), name="first look")

    async def close(self) -> None:
        """End the watch and close the connection. May be called twice."""
        await self._tasks.close()
        await self._client.close()

    async def _look(self) -> None:
        await self._informer.wait_for_sync()
        if self._is_missing:
            _log.warning("Waiting for the endpoints", problem=self._what_is_missing())

    def _published(self, obj: CachedObject) -> None:
        self._is_missing = False
        self._on_urls(obj.decode(APIExportEndpointSlice).urls)

    def _withdrawn(self) -> None:
        self._is_missing = True
        _log.warning("The endpoints are gone", problem=self._what_is_missing())
        self._on_urls(())

    def _what_is_missing(self) -> str:
        path, name = self._export.path, self._export.name
        return (
            f"there is no APIExportEndpointSlice {name!r} in {path}; apply config/kcp there, or "
            "start with --install-crds: kcp makes one for each APIExport"
        )
