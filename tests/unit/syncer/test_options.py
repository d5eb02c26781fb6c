from __future__ import annotations

import pytest

from kcpctl.errors import UsageError
from kcpctl.syncer import SyncerOptions


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sync_target_name": ""}, "--sync-target-name"),
        ({"sync_target_uid": ""}, "kubectl get synctarget east"),
        ({"heartbeat_interval_seconds": 0}, "--heartbeat-interval"),
        ({"workers": 0}, "--workers"),
        ({"retry_initial_seconds": 0}, "--retry-initial-interval"),
        ({"retry_multiplier": 1}, "--retry-multiplier"),
    ],
)
def test_bad_options_name_the_flag(fields: dict[str, object], words: str) -> None:
    good: dict[str, object] = {"sync_target_name": "east", "sync_target_uid": "u"}
    with pytest.raises(UsageError, match=words):
        SyncerOptions(**{**good, **fields})  # type: ignore[arg-type]
