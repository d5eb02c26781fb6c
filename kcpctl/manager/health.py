"""Health: named checks, and the text that /healthz, /livez and /readyz answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

__all__ = ["Check", "report"]

Check = Callable[[], str]
"""Returns "" when all is well, else one line that says what is not. Called on the I/O thread."""


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
