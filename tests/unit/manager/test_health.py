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


def test_an_excluded_check_is_not_run() -> None:
    checks: dict[str, Check] = {"ping": fine, "informers": broken}
    assert report("/readyz", checks, verbose=False, exclude=["informers"]) == (True, "ok")
    text = report("/readyz", checks, verbose=True, exclude=["informers"])[1]
    assert text == "[+]ping ok\n[+]informers excluded: ok\nreadyz check passed\n"


def test_to_exclude_what_is_no_check_changes_nothing_and_is_told() -> None:
    healthy, text = report("/readyz", CHECKS, verbose=False, exclude=["etcd"])
    assert not healthy
    assert "warn: there is no check to exclude that is called etcd\n" in text
    assert report("/healthz", {"ping": fine}, verbose=False, exclude=["etcd"]) == (True, "ok")
