"""A check for debugging: is a state that was streamed what a list of that version has? (WL-13)"""

from __future__ import annotations

import os
from typing import Final

from kcpctl.client import RawPage
from kcpctl.errors import ApiError, Gone, KcpctlError, ResourceVersionTooLarge, TransportError
from kcpctl.informers.objects import BadObject, CachedObject, ObjectDecoder
from kcpctl.informers.source import ExactLister
from kcpctl.runtime import Backoff, Clock, get_logger

__all__ = ["CHECK_VARIABLE", "StreamInconsistent", "check_state", "checks_states"]

CHECK_VARIABLE: Final = "KCPCTL_CHECK_STREAMED_STATES"
"""Set to 1 or true, each streamed state is compared with a list of the same version."""

_TRIES: Final = 5
_log = get_logger(__name__)


class StreamInconsistent(KcpctlError):
    """A streamed state is not what the server lists at that version; ends the informer."""


def checks_states() -> bool:
    """Whether the environment asks for the check."""
    return os.environ.get(CHECK_VARIABLE, "").lower() in {"1", "true"}


async def check_state(
    source: ExactLister,
    decoder: ObjectDecoder,
    state: list[CachedObject],
    version: str,
    *,
    description: str,
    clock: Clock,
    backoff: Backoff,
) -> None:
    """List at exactly ``version`` and compare; raises StreamInconsistent, with the keys.

    A list that fails is tried again a few times. A version that can no longer be listed is logged.
    """
    page = await _exact_page(source, version, description=description, clock=clock, backoff=backoff)
    if page is None:
        return
    streamed = {obj.key: obj.decode() for obj in state}
    listed = {}
    for item in page.items:
        try:
            obj = decoder.decode(item)
        except BadObject:
            continue
        listed[obj.key] = obj.decode()
    differing = sorted(
        key for key in streamed.keys() | listed.keys() if streamed.get(key) != listed.get(key)
    )
    if differing:
        raise StreamInconsistent(
            f"the streamed state of {description} differs from the list at version {version} in "
            f"{len(differing)} objects: {', '.join(differing[:10])}"
        )


async def _exact_page(
    source: ExactLister, version: str, *, description: str, clock: Clock, backoff: Backoff
) -> RawPage | None:
    error: Exception | None = None
    for _ in range(_TRIES):
        try:
            return await source.list_exactly(version)
        except (Gone, ResourceVersionTooLarge) as caught:
            error = caught
            break
        except (ApiError, TransportError) as caught:
            error = caught
            await clock.asleep(backoff.next())
    _log.warning("Streamed state not checked", informer=description, version=version, error=error)
    return None
