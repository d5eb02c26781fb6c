"""Health: named checks, and the text that /healthz, /livez and /readyz answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["Check", "report"]

Check = Callable[[], str]
"""Returns "" when all is well, else one line that says what is not. Called on the I/O thread."""


def report(path: str, checks: Mapping[str, Check], *, verbose: bool) -> tuple[bool, str]:
    """Run ``checks`` and return whether all passed, and the answer as an API server writes it."""
    lines = []
    healthy = True
    for name, check in checks.items():
        try:
            problem = check()
        except Exception as error:  # noqa: BLE001 - a check that raises has failed
            problem = f"{type(error).__name__}: {error}"
        healthy = healthy and not problem
        lines.append(f"[-]{name} failed: {problem}" if problem else f"[+]{name} ok")
    if healthy and not verbose:
        return True, "ok"
    verdict = "passed" if healthy else "failed"
    return healthy, "\n".join([*lines, f"{path.strip('/')} check {verdict}", ""])
