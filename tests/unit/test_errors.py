from __future__ import annotations

import inspect
from typing import Any

import pytest

from kcpctl import errors
from kcpctl.errors import ApiError, KcpctlError, NotConnected, error_from_status


def test_everything_public_is_in_the_tree() -> None:
    for name in errors.__all__:
        member = getattr(errors, name)
        if inspect.isclass(member):
            assert issubclass(member, KcpctlError)
            assert member.__doc__


@pytest.mark.parametrize(
    ("status", "code", "kind", "retryable"),
    [
        ({"reason": "NotFound"}, 404, errors.NotFound, False),
        ({"reason": "AlreadyExists"}, 409, errors.AlreadyExists, False),
        ({"reason": "Conflict"}, 409, errors.Conflict, True),
        ({"reason": "Expired", "code": 410}, None, errors.Expired, True),
        ({"reason": "Gone"}, 410, errors.Gone, True),
        ({"reason": "ServerTimeout"}, 500, errors.ServerTimeout, True),
        ({}, 429, errors.TooManyRequests, True),
        ({}, 422, errors.Invalid, False),
        ({}, 502, errors.InternalError, True),
        ({"reason": "Unheard"}, 418, ApiError, False),
        ({"code": 403}, None, errors.Forbidden, False),
    ],
)
def test_a_status_becomes_its_error(
    status: dict[str, Any], code: int | None, kind: type[ApiError], retryable: bool
) -> None:
    error = error_from_status({"message": "m", **status}, code=code)
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.code == (code or status["code"])


@pytest.mark.parametrize(
    "status",
    [
        {"message": "Too large resource version: 9, current: 1", "reason": "Timeout"},
        {"message": "Timeout: Too large resource version: 9, current: 1", "reason": "Timeout"},
        {"message": "x", "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}},
        {"message": "x", "details": {"causes": [{"message": "Too large resource version"}]}},
    ],
)
def test_rf_12_too_large_is_known_in_three_shapes(status: dict[str, Any]) -> None:
    assert isinstance(error_from_status(status, code=504), errors.ResourceVersionTooLarge)


def test_retry_after_comes_from_the_header_or_the_details() -> None:
    assert error_from_status({}, code=429, retry_after_seconds=3).retry_after_seconds == 3
    details = {"details": {"retryAfterSeconds": 2}}
    assert error_from_status(details, code=429).retry_after_seconds == 2
    assert error_from_status({}, code=429).retry_after_seconds is None


@pytest.mark.parametrize(
    "status",
    [
        {"code": "many", "details": {"retryAfterSeconds": "soon", "causes": 5}},
        {"code": [504], "details": {"retryAfterSeconds": {}, "causes": "Too large"}},
        {"details": [], "message": None, "reason": 7},
    ],
)
def test_a_status_that_is_none_is_still_an_error(status: dict[str, Any]) -> None:
    error = error_from_status(status)
    assert type(error) is errors.ApiError
    assert error.retry_after_seconds is None


def test_the_text_names_the_request() -> None:
    error = error_from_status({"message": "no"}, code=404, request="GET https://h/api/v1/pods")
    assert str(error) == "no (GET https://h/api/v1/pods)"


def test_not_connected_says_state_reason_and_next_attempt() -> None:
    error = NotConnected(
        "root|east", state="Connecting", since=1.0, last_error="refused", next_attempt_in_seconds=4
    )
    text = str(error)
    assert text == (
        "cluster 'root|east' is not connected (Connecting: refused); next attempt in 4s"
    )
    assert "no attempt is planned" in str(NotConnected("x", state="Gone", since=1.0))
