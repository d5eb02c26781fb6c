"""Failures that are hard to provoke on a socket."""

from __future__ import annotations

import errno
import ssl

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.client.failures import ConnectionLost, api_error, transport_error
from kcpctl.client.objects import excerpt
from kcpctl.errors import ApiError, ConfigError, InternalError, KcpctlError, TransportError

REQUEST = "GET https://host/api"


@pytest.mark.parametrize(
    ("error", "cls", "says"),
    [
        (OSError(errno.EPIPE, "Broken pipe"), ConnectionLost, "the connection broke: Broken pipe"),
        (OSError(errno.EMFILE, "Too many open files"), TransportError, "Too many open files"),
        (ConnectionResetError(), TransportError, "ConnectionResetError"),
        (ssl.SSLError(1, "boom"), TransportError, "the TLS handshake failed: boom"),
        (aiohttp.InvalidURL("x"), ConfigError, "is not a URL"),
        (aiohttp.ClientConnectionError("odd"), TransportError, "ClientConnectionError: odd"),
    ],
)
def test_each_has_its_place_and_names_the_request(
    error: Exception, cls: type[KcpctlError], says: str
) -> None:
    found = transport_error(error, REQUEST, 30)
    assert type(found) is cls
    assert says in str(found)
    assert str(found).endswith(f"({REQUEST})")


@given(st.binary(max_size=2000))
def test_any_body_gives_an_error_with_a_short_message(body: bytes) -> None:
    error = api_error(500, {}, body, REQUEST)
    assert isinstance(error, ApiError)
    assert error.code == 500


@pytest.mark.parametrize(
    "body",
    [b"[]", b"5", b'"x"', b"null", b'{"message": 5}', b'{"message": ""}', b'{"kind":"Status"}'],
)
def test_json_that_says_nothing_is_shown(body: bytes) -> None:
    error = api_error(500, {}, body, "")
    assert isinstance(error, InternalError)
    assert str(error).startswith("the server answered 500 with ")


def test_a_reason_alone_is_enough() -> None:
    assert str(api_error(409, {}, b'{"reason":"AlreadyExists"}', "")) == "AlreadyExists"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5.0), (" 7 ", 7.0), ("0", 0.0), ("1.5", None), ("-1", None), ("٣", None), ("", None)],
)
def test_only_whole_seconds_count_rc_06(header: str, seconds: float | None) -> None:
    """RC-06."""
    assert api_error(429, {"Retry-After": header}, b"", "").retry_after_seconds == seconds


@given(st.binary(max_size=3000))
def test_an_excerpt_is_one_short_line(body: bytes) -> None:
    """RC-21."""
    text = excerpt(body)
    assert len(text) <= 203
    assert "\n" not in text


@pytest.mark.parametrize(
    "error",
    [ValueError("Forbidden control character in headers"), UnicodeError("label too long")],
)
def test_a_request_that_cannot_be_sent_is_the_configurations_fault(error: Exception) -> None:
    found = transport_error(error, REQUEST, 30)
    assert isinstance(found, ConfigError)
    assert str(found) == f"the request cannot be sent: {error} ({REQUEST})"
