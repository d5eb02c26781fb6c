"""Health: named checks, and the text that /healthz, /livez and /readyz answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

from kcpctl.manager.endpoint import Handler

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Check", "health_routes", "report"]

Check = Callable[[], str]
"""Returns "" when all is well, else one line that says what is not. Called on the I/O thread."""


def health_routes(checks_of: Callable[[str], Mapping[str, Check]]) -> dict[str, Handler]:
    """Return what answers at /healthz, /livez and /readyz, and below each for one check alone.

    ``checks_of`` is asked with the path, for each answer. ``?verbose`` lists the checks,
    ``?exclude=CHECK`` leaves one out.
    """
    answer = partial(_answer, checks_of)
    paths = ("/healthz", "/livez", "/readyz")
    return {f"{path}{one}": answer for path in paths for one in ("", "/{check}")}


async def _answer(
    checks_of: Callable[[str], Mapping[str, Check]], request: web.Request
) -> web.Response:
    from aiohttp import web

    path, one = request.path, request.match_info.get("check")
    checks = checks_of(path)
    if one is not None:
        if one not in checks:
            return web.Response(text=f"there is no check {path}\n", status=404)
        checks = {one: checks[one]}
    healthy, text = report(
        path,
        checks,
        verbose="verbose" in request.query,
        exclude=request.query.getall("exclude", []),
    )
    return web.Response(text=text, status=200 if healthy else 500)


def report(
    path: str, checks: Mapping[str, Check], *, verbose: bool, exclude: Collection[str] = ()
) -> tuple[bool, str]:
    """Run ``checks`` and return whether all passed, and the answer as an API server writes it.

    Those of ``exclude`` are not run. A name in it that is no check is told where there is more
    than one word, and harms nothing: the checks of versions differ.
    """
    lines = []
    healthy = True
    for name, check in checks.items():
        if name in exclude:
            lines.append(f"[+]{name} excluded: ok")
            continue
        try:
            problem = check()
        except Exception as error:  # noqa: BLE001 - a check that raises has failed
            problem = f"{type(error).__name__}: {error}"
        healthy = healthy and not problem
        lines.append(f"[-]{name} failed: {problem}" if problem else f"[+]{name} ok")
    if healthy and not verbose:
        return True, "ok"
    if unknown := [name for name in exclude if name not in checks]:
        lines.append(f"warn: there is no check to exclude that is called {', '.join(unknown)}")
    verdict = "passed" if healthy else "failed"
    return healthy, "\n".join([*lines, f"{path.strip('/')} check {verdict}", ""])
