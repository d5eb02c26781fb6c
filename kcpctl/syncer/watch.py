"""The watch of the one SyncTarget that a syncer works for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from kcpctl.apis.admission import EVERYTHING, Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.informers import CachedObject
from kcpctl.logicalcluster import cluster_of
from kcpctl.syncer.gate import Verdict, judge

__all__ = ["TargetWatch"]


class TargetWatch:
    """An event handler that keeps the latest verdict about the SyncTarget.

    ``on_change`` is called on the I/O thread with each new verdict, and when one that is served
    lets in other objects than before, before anything else learns of it, so that a gate closes at
    once; ``on_seen`` with each state of the SyncTarget itself. ``verdict`` is None until the
    SyncTarget was seen or :meth:`synced_without` said that there is none; ``admission`` is that
    of the last time at which it was served.
    """

    def __init__(
        self,
        name: str,
        uid: str,
        on_change: Callable[[Verdict], None],
        on_seen: Callable[[Unstructured], None],
    ) -> None:
        self._name = name
        self._uid = uid
        self._on_change = on_change
        self._on_seen = on_seen
        self.verdict: Verdict | None = None
        self.admission = EVERYTHING
        self.cluster = ""
        self.declares_capacity = False

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Judge what is there."""
        self._see(obj)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Judge what it has become."""
        self._see(new)

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """It is gone."""
        if obj.meta.name == self._name:
            self._set(Verdict.GONE)

    def synced_without(self) -> None:
        """The whole list came, and it was not in it."""
        if self.verdict is None:
            self._set(Verdict.GONE)

    def _see(self, obj: CachedObject) -> None:
        if obj.meta.name == self._name:
            self.cluster = cluster_of(obj.meta.annotations, obj.cluster)
            decoded = obj.decode()
            spec = decoded.get("spec") or {}
            self.declares_capacity = bool(spec.get("capacity"))
            verdict = judge(decoded, self._uid)
            self._set(verdict, self._admission(verdict, spec))
            if obj.meta.uid == self._uid:
                self._on_seen(decoded)

    def _admission(self, verdict: Verdict, spec: Mapping[str, Any]) -> Admission:
        """Return what is let in, as it was where nothing is taken or nobody can tell."""
        if verdict in {Verdict.ACTIVE, Verdict.DRAINING}:
            with contextlib.suppress(ValueError):
                return Admission.of(spec)
        return self.admission

    def _set(self, verdict: Verdict, admission: Admission | None = None) -> None:
        admission = self.admission if admission is None else admission
        if (verdict, admission) != (self.verdict, self.admission):
            self.verdict, self.admission = verdict, admission
            self._on_change(verdict)
