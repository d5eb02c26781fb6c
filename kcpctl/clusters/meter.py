"""How much of one cluster is held, and the most that may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kcpctl.client import RawPage
from kcpctl.informers import CachedObject

__all__ = ["Cap", "Meter", "Size"]


@dataclass(slots=True)
class Size:
    """A number of objects, and the bytes of their JSON."""

    objects: int = 0
    bytes: int = 0

    def add(self, objects: int, bytes_: int) -> None:
        """Add to both."""
        self.objects += objects
        self.bytes += bytes_


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that the watches of one cluster may hold together."""

    objects: int
    bytes: int

    def allows(self, *sizes: Size) -> bool:
        """Whether so much may be held."""
        objects = sum(size.objects for size in sizes)
        return objects <= self.objects and sum(size.bytes for size in sizes) <= self.bytes

    def __str__(self) -> str:
        return f"{self.objects:,} objects or {self.bytes / 2**20:,.0f} MiB"


@dataclass(slots=True)
class Meter:
    """Counts what one informer holds, as its handler, and what a list under way has brought.

    ``changed`` is called when either has grown. On the I/O loop.
    """

    changed: Callable[[], None]
    held: Size = field(default_factory=Size)
    listed: Size = field(default_factory=Size)

    @property
    def size(self) -> Size:
        """The larger of the two: pages take the place of what is held when all have come."""
        return max(self.held, self.listed, key=lambda size: (size.objects, size.bytes))

    def on_page(self, page: RawPage, *, is_first: bool) -> None:
        """Count one page of a list."""
        if is_first:
            self.listed = Size()
        self.listed.add(len(page.items), sum(len(memoryview(item)) for item in page.items))
        self.changed()
        if not page.continue_:
            self.listed = Size()

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        """Count one more."""
        self.held.add(1, len(obj.raw))
        self.changed()

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        """Count the difference."""
        self.held.add(0, len(new.raw) - len(old.raw))
        self.changed()

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        """Count one less."""
        self.held.add(-1, -len(obj.raw))
