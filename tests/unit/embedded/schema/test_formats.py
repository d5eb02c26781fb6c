from __future__ import annotations

import pytest

from kcpctl.embedded.schema.formats import FORMATS
from kcpctl.embedded.schema.quantities import amount, canonical


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2024-02-29T23:59:59Z", "2023-02-29T00:00:00Z"),
        ("date-time", "0000-02-29T00:00:00Z", "2016-12-31T23:59:60Z"),
        ("date", "2024-01-01", "2024-1-1"),
        ("duration", "1h30m", "1 hour"),
        ("byte", "eA==", "!!"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/40"),
        ("uri", "https://example.com/x", "no uri"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("hostname", "a.example.com", "-a.example.com"),
        ("email", "a@example.com", "a"),
    ],
)
def test_formats_tell_good_from_bad(name: str, good: str, bad: str) -> None:
    assert FORMATS[name](good)
    assert not FORMATS[name](bad)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1", "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"),
        ("1000000", "1M"),
        ("1e-1", "100e-3"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("0", "0"),
        ("-1", "-1"),
        ("1.5Gi", "1536Mi"),
    ],
)
def test_quantities_get_their_canonical_form(text: str, shown: str) -> None:
    assert canonical(text) == shown


def test_what_is_no_quantity_has_no_form() -> None:
    assert canonical("abc") is None
    assert canonical("") is None


def test_a_quantity_beyond_all_range_is_the_largest_there_is() -> None:
    assert amount("1E900000") == 2**63 - 1
    assert amount("-1E900000") == 1 - 2**63
    assert amount("2k") == 2000
