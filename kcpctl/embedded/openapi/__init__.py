"""OpenAPI documents: what kubectl explain and kubectl's field validation read.

Making one takes up to a second of CPU the first time (descriptions are read from the source of
the ``kubernetes`` package), so run these in a BlockingPool; results are cached as bytes.
Thread-safe.
"""

from __future__ import annotations

from kcpctl.embedded.openapi.documents import v2, v2_protobuf, v3_group, v3_index

__all__ = ["v2", "v2_protobuf", "v3_group", "v3_index"]
