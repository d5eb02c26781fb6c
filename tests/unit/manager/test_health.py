from __future__ import annotations

from kcpctl.manager.health import Check, report


def fine() -> str:
    return ""


def broken() -> str:
    return "waiting for deployments.apps"


def raises() -> str:
    raise RuntimeError("a bug")


CHECKS: dict[str, Check] = {"ping": fine, "informers": broken}


def test_a_failure_is_reported_with_every_check() -> None:
    healthy, text = report("/readyz", CHECKS, verbose=False)
    assert not healthy
    assert text == (
        "[+]ping ok\n[-]informers failed: waiting for deployments.apps\nreadyz check failed\n"
    )


def test_a_check_that_raises_has_failed() -> None:
    healthy, text = report("/readyz", {"informers": raises}, verbose=False)
    assert not healthy
    assert "[-]informers failed: RuntimeError: a bug" in text


def test_health_is_one_word() -> None:
    assert report("/healthz", {"ping": fine}, verbose=False) == (True, "ok")


def test_verbose_names_the_checks() -> None:
    expected = "[+]ping ok\nhealthz check passed\n"
    assert report("/healthz", {"ping": fine}, verbose=True) == (True, expected)
