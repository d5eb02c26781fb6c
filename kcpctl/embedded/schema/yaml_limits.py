"""What a YAML document would become, told before it is built: how deep, and how much.

The loader in C descends once for each level, and a document of one MiB with half a million levels
ends the process. Aliases make a document of a hundred lines into a thousand million values, which
appear when it is written as JSON. The events of a document need neither stack nor memory.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["check_yaml"]

_MAX_DEPTH: Final = 1000
_MAX_VALUES: Final = 1_000_000
# A block can be nested no deeper than its lines are indented, "- - -" included.
_INDENTED: Final = re.compile(rb"^[ \-?]{%d}" % _MAX_DEPTH, re.MULTILINE)


def check_yaml(body: bytes) -> None:
    """Raise ValueError with Go's sentence for a document that must not be built.

    Most are not even looked at: without aliases and with few brackets none can do harm.
    """
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > _MAX_DEPTH or b"*" in body or _INDENTED.search(body):
        _follow(body)


def _follow(body: bytes) -> None:
    import yaml

    values = 0
    open_at: list[tuple[str | None, int]] = []
    sizes: dict[str | None, int] = {}
    for event in yaml.parse(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_at.pop()
            sizes[anchor] = values - before
        elif isinstance(event, yaml.NodeEvent):
            values += sizes.get(event.anchor, 1) if isinstance(event, yaml.AliasEvent) else 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_at.append((event.anchor, values))
            elif isinstance(event, yaml.ScalarEvent):
                sizes[event.anchor] = 1
        if len(open_at) > _MAX_DEPTH:
            raise ValueError("yaml: exceeded max depth of 1000")
        if values > _MAX_VALUES:
            raise ValueError("yaml: document contains excessive aliasing")
