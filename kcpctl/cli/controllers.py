"""Which controllers run: the value of ``--controllers``."""

from __future__ import annotations

from typing import Any, Final

import click

__all__ = ["ALL_CONTROLLERS", "ControllersType"]

ALL_CONTROLLERS: Final = ("clusterregistration", "synctarget")


class ControllersType(click.ParamType[tuple[str, ...]]):
    """``*`` for all, ``name`` for one, ``-name`` for all but that; the last word counts."""

    name = "controllers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names, in the order of :data:`ALL_CONTROLLERS`."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        chosen: set[str] = set()
        for word in words:
            name = word.removeprefix("-")
            if name not in (*ALL_CONTROLLERS, "*"):
                self.fail(
                    f"there is no controller {name!r}; there are {', '.join(ALL_CONTROLLERS)}",
                    param,
                    ctx,
                )
            names = set(ALL_CONTROLLERS) if name == "*" else {name}
            chosen = chosen - names if word.startswith("-") else chosen | names
        if not chosen:
            self.fail(f"{value!r} leaves no controller to run", param, ctx)
        return tuple(name for name in ALL_CONTROLLERS if name in chosen)
