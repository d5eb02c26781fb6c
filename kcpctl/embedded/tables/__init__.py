"""Tables as kubectl prints them: the columns of each kind, and the cells of an object."""

from __future__ import annotations

from kcpctl.embedded.tables.table import cells, columns

__all__ = ["cells", "columns"]
