from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.quantity import QUANTITY_PATTERN, is_valid, parse, problem, total

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
numbers = st.decimals(
    min_value=-1000, max_value=1000, places=3, allow_nan=False, allow_infinity=False
)


@pytest.mark.parametrize(
    "text",
    ["", " ", "1 ", "m", "4x", "1i", "1.1.M", "0.1mi", "1e", "1e1.5", "--1", "1_000", "١", "1\n"],
)
def test_what_is_not_a_quantity_is_refused_with_the_text(text: str) -> None:
    assert not is_valid(text)
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse(text)


def test_an_exponent_beyond_all_range_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(ValueError, match="out of the range"):
        parse("1e99999999999999999999")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"),
        ("1.5Gi", str(3 * 2**29)),
        ("12e6", "12000000"),
        ("12E6", "12000000"),
        ("1E", "1e18"),
        ("1Ei", str(2**60)),
        ("-3", "-3"),
        ("+.5k", "500"),
        ("1.", "1"),
        ("100n", "1e-7"),
        ("5u", "5e-6"),
        ("7", "7"),
    ],
)
def test_suffixes_have_their_multipliers(text: str, value: str) -> None:
    assert parse(text) == Decimal(value)


def test_an_integer_of_json_is_a_quantity() -> None:
    assert parse(4) == 4


@given(numbers, st.sampled_from(SUFFIXES))
def test_the_sign_of_a_quantity_is_the_sign_of_its_number(number: Decimal, suffix: str) -> None:
    value = parse(f"{number:f}{suffix}")
    assert (value < 0) == (number < 0)
    assert (value == 0) == (number == 0)


@given(numbers, st.sampled_from(["k", "M", "G", "T", "P", "E"]))
def test_a_decimal_suffix_equals_its_exponent(number: Decimal, suffix: str) -> None:
    exponent = 3 * ("kMGTPE".index(suffix) + 1)
    assert parse(f"{number:f}{suffix}") == parse(f"{number:f}e{exponent}")


@given(st.text(alphabet="+-.0123456789eEinumkKMGTP", max_size=8))
def test_the_schema_pattern_and_the_parser_agree(text: str) -> None:
    assert bool(re.match(QUANTITY_PATTERN, text)) == is_valid(text)


@given(
    st.text(alphabet="+-.0123456789eEinumkKMGTP", max_size=8)
    | st.builds("{}{}".format, st.integers(-10, 10**12), st.sampled_from(SUFFIXES))
    | st.integers()
)
def test_a_figure_is_no_problem_exactly_if_it_can_be_parsed_and_is_not_negative(
    text: str | int,
) -> None:
    try:
        good = parse(text) >= 0
    except ValueError:
        good = False
    assert (problem(text) == "") == good


@pytest.mark.parametrize(
    ("quantities", "sum_"),
    [
        ([], "0"),
        (["4", 8], "12"),
        (["500m", "1500m"], "2"),
        (["3500m", "4"], "7500m"),
        (["16Gi", "16Gi"], "32Gi"),
        (["1Gi", "512Mi"], "1536Mi"),
        (["1Ki", "1"], "1025"),
        (["0.1m"], "1m"),
    ],
)
def test_a_total_keeps_to_units_that_people_write(quantities: list[str | int], sum_: str) -> None:
    assert total(quantities) == sum_


@given(st.lists(st.builds("{}{}".format, st.integers(0, 10**6), st.sampled_from(SUFFIXES[3:]))))
def test_a_total_is_at_most_a_thousandth_too_high(quantities: list[str]) -> None:
    exact = sum(map(parse, quantities), Decimal(0))
    assert 0 <= parse(total(quantities)) - exact < Decimal("0.001")
