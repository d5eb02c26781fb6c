"""From a downstream status to the upstream one: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcpctl.apis.meta import Unstructured
from kcpctl.syncer.fingerprint import Applied

__all__ = ["upstream_status"]


def upstream_status(
    downstream: Mapping[str, Any], upstream: Mapping[str, Any], applied: Applied | None
) -> Unstructured | None:
    """Return the status that the upstream object should have; None: there is none to report.

    It is the whole downstream status (3.6) with ``observedGeneration`` in upstream terms: the
    generation that was applied, once the downstream cluster has acted on what was applied, and
    until then the one that is reported already. So ``kubectl rollout status`` waits upstream
    for exactly what it would wait for downstream (3.7).
    """
    status = downstream.get("status")
    if not isinstance(status, Mapping) or not status:
        return None
    result = dict(status)
    seen = result.pop("observedGeneration", None)
    if seen is None:
        return result
    metadata = downstream.get("metadata") or {}
    current = (
        applied is not None
        and applied.uid == metadata.get("uid")
        and int(metadata.get("generation") or 0) >= applied.downstream_generation
        and seen >= int(metadata.get("generation") or 0)
    )
    if current and applied is not None:
        result["observedGeneration"] = applied.generation
    else:
        before = (upstream.get("status") or {}).get("observedGeneration")
        if before is not None:
            result["observedGeneration"] = before
    return result
