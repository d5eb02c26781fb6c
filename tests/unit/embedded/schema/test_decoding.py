from __future__ import annotations

import pytest

from kcpctl.embedded.schema.decoding import decode, strict_error


def test_duplicate_keys_are_named_by_path_and_the_last_wins() -> None:
    decoded = decode(b'{"data":{"k":"1","k":"2"},"list":[{"a":1,"a":2}]}')
    assert decoded.value == {"data": {"k": "2"}, "list": [{"a": 2}]}
    assert decoded.duplicates == (
        'duplicate field "data.k"',
        'duplicate field "list[0].a"',
    )


def test_yaml_names_the_line_of_a_duplicate_key() -> None:
    decoded = decode(b"data:\n  k: a\n  k: b\n", yaml=True)
    assert decoded.value == {"data": {"k": "b"}}
    assert decoded.duplicates == ('yaml: unmarshal errors:\n  line 3: key "k" already set in map',)


def test_yaml_is_version_one_one_with_keys_as_text_and_no_dates() -> None:
    text = b"y: yes\n1: 2024-01-01\nplain: off\nanchor: &a {x: 1}\ncopy: *a\n"
    assert decode(text, yaml=True).value == {
        "true": True,
        "1": "2024-01-01",
        "plain": False,
        "anchor": {"x": 1},
        "copy": {"x": 1},
    }


def test_yaml_merge_keys_are_flattened() -> None:
    text = b"base: &b {x: 1}\nuse:\n  <<: *b\n  y1: 2\n"
    assert decode(text, yaml=True).value["use"] == {"x": 1, "y1": 2}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a":', "unexpected end of JSON input"),
        (b'{"a', "unexpected end of JSON input"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"xx", "invalid character 'x' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
    ],
)
def test_broken_json_is_described_as_go_does(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode(body)
    assert str(caught.value) == sentence


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid character"):
        decode(b"\xff\xfe")


def test_broken_yaml_is_described() -> None:
    sentence = r"^yaml: mapping values are not allowed in this context$"
    with pytest.raises(ValueError, match=sentence):
        decode(b"a: b: c", yaml=True)


def test_strict_errors_list_all_problems() -> None:
    text = strict_error(['unknown field "a"', 'duplicate field "b"'])
    assert text == 'strict decoding error: unknown field "a", duplicate field "b"'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[" * 500_000 + b"]" * 500_000, "yaml: exceeded max depth of 1000"),
        (b"- " * 500_000 + b"a", "yaml: exceeded max depth of 1000"),
        (
            b"a: &a [x, x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9))
                for c in range(98, 110)
            ),
            "yaml: document contains excessive aliasing",
        ),
    ],
    ids=["brackets", "dashes", "aliases"],
)
def test_a_document_that_would_end_the_process_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        decode(body, yaml=True)


def test_json_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="exceeded max depth"):
        decode(b'{"a":' * 200_000 + b"1" + b"}" * 200_000)


def test_deep_but_sane_yaml_and_aliases_are_read() -> None:
    assert decode(b"[" * 900 + b"]" * 900, yaml=True).value
    assert decode(b"a: &x {b: 1}\nc: *x\n", yaml=True).value == {"a": {"b": 1}, "c": {"b": 1}}
