"""A unit: one endpoint of an APIExport, and what it shows of the bindings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from kcpctl.apis.kcp import APIBinding, ExportReference
from kcpctl.client import AsyncClient
from kcpctl.informers import CachedObject, EventHandler, SharedInformer
from kcpctl.logicalcluster import split_key
from kcpctl.manager.fleet.endpoint import explain
from kcpctl.manager.fleet.membership import Binding, Membership
from kcpctl.runtime import TaskSet

__all__ = ["Unit", "UnitState"]

UnitState = Literal["Connecting", "Syncing", "Serving", "Leaving"]


class Unit(EventHandler):
    """One endpoint: its client and the informer of its bindings, which tell the membership.

    It may be dead, or not know the export yet: the informer tries again by itself, with growing
    pauses, and until it has an answer nobody else waits for this endpoint. Belongs to the I/O loop,
    but for what only reads. ``bindings`` does not run yet.
    """

    def __init__(
        self,
        url: str,
        client: AsyncClient,
        bindings: SharedInformer[APIBinding],
        membership: Membership,
    ) -> None:
        self.url = url
        self.client = client
        self.bindings = bindings
        self.joined = False
        self.synced = False
        # None while it is listed, else something of this departure alone.
        self.leaving: object | None = None
        self._membership = membership
        self._registration = bindings.add_handler(self)
        self._tasks = TaskSet(f"endpoint {url}")

    @property
    def state(self) -> UnitState:
        """How far it is."""
        if self.leaving is not None:
            return "Leaving"
        if not self.joined:
            return "Connecting"
        return "Serving" if self.synced else "Syncing"

    def last_error(self, export: ExportReference) -> str:
        """Return why its bindings cannot be read right now, "" while they can."""
        error = self.bindings.last_error
        return "" if error is None else explain(error, export)

    def start(self, join: Callable[[Unit], Awaitable[None]]) -> None:
        """Read the bindings from now on, and call ``join`` when all of them are known."""
        self._tasks.spawn(self.bindings.run(), name="bindings")
        self._tasks.spawn(self._join(join), name="join")

    async def _join(self, join: Callable[[Unit], Awaitable[None]]) -> None:
        await self.bindings.wait_for_sync()
        await join(self)

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

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Take that a binding is gone."""
        self._membership.hide(self.url, obj.cluster, split_key(obj.key).name)

    def _show(self, obj: CachedObject) -> None:
        binding = obj.decode(APIBinding)
        state = Binding(binding.is_ready, binding.path)
        self._membership.show(self.url, obj.cluster, split_key(obj.key).name, state)
