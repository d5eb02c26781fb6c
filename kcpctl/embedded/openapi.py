"""OpenAPI documents: what kubectl explain and client-side validation read.

Making one takes up to a second of CPU the first time (descriptions are read from the source of
the ``kubernetes`` package), so run these in a BlockingPool; results are cached as bytes.
Thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence

from kcpctl.embedded.kinds import ResourceInfo

__all__ = ["v2", "v3_group", "v3_index"]


def v2(infos: Sequence[ResourceInfo]) -> bytes:
    """Return the ``/openapi/v2`` document."""
    raise NotImplementedError


def v3_index(infos: Sequence[ResourceInfo]) -> bytes:
    """Return ``/openapi/v3``: the paths of the documents by group version (cheap)."""
    raise NotImplementedError


def v3_group(group_version: str, infos: Sequence[ResourceInfo]) -> bytes | None:
    """Return ``/openapi/v3/apis/GROUP/VERSION`` (``v1`` for core), None when not served."""
    raise NotImplementedError
