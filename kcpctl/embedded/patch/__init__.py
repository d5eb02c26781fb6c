"""The four patch types and the tracking of field owners, as pure functions over dicts."""

from __future__ import annotations

from kcpctl.embedded.patch.apply import server_side_apply, track_update
from kcpctl.embedded.patch.operations import json_patch, merge_patch
from kcpctl.embedded.patch.strategic import strategic_merge_patch

__all__ = [
    "json_patch",
    "merge_patch",
    "server_side_apply",
    "strategic_merge_patch",
    "track_update",
]
