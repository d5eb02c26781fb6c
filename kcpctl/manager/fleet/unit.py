"""A unit: one endpoint of an APIExport, and what it shows of the bindings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from kcpctl.apis.kcp import APIBinding, ExportReference
from kcpctl.client import AsyncClient
from kcpctl.informers import CachedObject, EventHandler, SharedInformer
from kcpctl.logicalcluster import split_key
from kcpctl.manager.fleet.endpoint import explain
from kcpctl.manager.fleet.membership import Membership
from kcpctl.runtime import TaskSet

__all__ = ["Unit", "UnitState"]

UnitState = Literal["Connecting", "Idle", "Syncing", "Serving", "Leaving"]


class Unit(EventHandler):
    """One endpoint: its client and the informer of its bindings, which tell the membership.

    It may be dead, or not know the export yet: the informer tries again by itself, with growing
    pauses, and until it has an answer nobody else waits for this endpoint. It *joins* when it shows
    a first binding that is ready: before, a kcp answers a watch of what is exported never, and a
    list without a version. Belongs to the I/O loop, but for what only reads.

    Parameters
    ----------
    bindings: the informer, which does not run yet.
    on_return: is called when a binding is ready again after none was.
    on_consent: is called with the cluster whose tenant accepts something else by now.
    """

    def __init__(
        self,
        url: str,
        client: AsyncClient,
        bindings: SharedInformer[APIBinding],
        membership: Membership,
        on_return: Callable[[str], object],
        on_consent: Callable[[str], object],
    ) -> None:
        self.url = url
        self.client = client
        self.bindings = bindings
        self.joined = False
        self.synced = False
        # None while it is listed; else set when this departure is over, by return or by its end.
        self.leaving: asyncio.Event | None = None
        self._membership = membership
        self._on_return = on_return
        self._on_consent = on_consent
        self._ready: set[str] = set()
        self._wanted = asyncio.Event()
        self._registration = bindings.add_handler(self)
        self._tasks = TaskSet(f"endpoint {url}")

    @property
    def state(self) -> UnitState:
        """How far it is."""
        if self.leaving is not None:
            return "Leaving"
        if not self.bindings.synced:
            return "Connecting"
        if not self.joined:
            return "Idle"
        return "Serving" if self.synced else "Syncing"

    def binding(self, cluster: str) -> APIBinding | None:
        """Return the binding of a cluster as it was last shown, one that is ready if there is."""
        shown = self.bindings.lister.cluster(cluster).list()
        return max(shown, key=lambda one: one.is_ready, default=None)

    def last_error(self, export: ExportReference) -> str:
        """Return why its bindings cannot be read right now, "" while they can."""
        error = self.bindings.last_error
        if error is not None:
            return explain(error, export)
        return "" if self.bindings.synced else "no answer yet"

    def start(self, join: Callable[[Unit], Awaitable[None]]) -> None:
        """Read the bindings from now on, and call ``join`` when one of them is ready."""
        self._tasks.spawn(self.bindings.run(), name="bindings")
        self._tasks.spawn(self._join(join), name="join")

    async def _join(self, join: Callable[[Unit], Awaitable[None]]) -> None:
        await self.bindings.wait_for_sync()
        await self._wanted.wait()
        await join(self)

    def return_(self) -> None:
        """Be listed again."""
        if self.leaving is not None:
            self.leaving.set()
            self.leaving = None

    def stop_telling(self) -> None:
        """Tell the membership nothing more."""
        self._registration.remove()

    async def close(self) -> None:
        """End everything, and close the connections."""
        self.stop_telling()
        await self._tasks.close()
        await self.client.close()

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Take a binding that came."""
        self._show(obj)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Take a binding that changed."""
        self._show(new)
        if _consent(old) != _consent(new):
            self._on_consent(new.cluster)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Take that a binding is gone."""
        self._ready.discard(obj.key)
        self._membership.hide(self.url, obj.cluster, split_key(obj.key).name)

    def _show(self, obj: CachedObject) -> None:
        ready = obj.decode(APIBinding).is_ready
        if not ready:
            self._ready.discard(obj.key)
        elif obj.key not in self._ready:
            self._ready.add(obj.key)
            self._wanted.set()
            if self.joined and len(self._ready) == 1:
                self._on_return(self.url)
        self._membership.show(self.url, obj.cluster, split_key(obj.key).name, ready=ready)


def _consent(obj: CachedObject) -> object:
    binding = obj.decode(APIBinding)
    return binding.spec.permission_claims, binding.status.applied_permission_claims
