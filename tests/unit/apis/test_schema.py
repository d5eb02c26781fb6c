from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
import pytest

from kcpctl.apis.meta import ApiStruct
from kcpctl.apis.schema import doc, schema_of


class Inner(ApiStruct):
    """What an inner thing is."""

    required_name: Annotated[str, doc("Its name.", {"maxLength": 5})]
    count: Annotated[int | None, doc("How many.")] = None

    schema_extra: ClassVar[dict[str, Any]] = {"x-kubernetes-validations": [{"rule": "true"}]}


class Outer(ApiStruct):
    """What an outer thing is."""

    inner: Inner | None = None
    many: Annotated[list[Inner], doc("Several.", {"maxItems": 2})] = msgspec.field(
        default_factory=list
    )
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    size: Annotated[str | int, doc("How big.")] = 0
    share: float = 0.0
    on: bool = False
    odd: str = msgspec.field(default="", name="oddURL")


def test_fields_have_wire_names_descriptions_and_rules() -> None:
    schema = schema_of(Outer)
    assert schema["description"] == "What an outer thing is."
    assert list(schema["properties"]) == [
        "inner", "many", "labels", "size", "share", "on", "oddURL",
    ]  # fmt: skip
    inner = schema["properties"]["inner"]
    assert inner["required"] == ["requiredName"]
    assert inner["properties"]["requiredName"] == {
        "type": "string",
        "description": "Its name.",
        "maxLength": 5,
    }
    assert inner["x-kubernetes-validations"] == [{"rule": "true"}]
    assert "required" not in schema


def test_types_map_to_what_structural_schemas_know() -> None:
    properties = schema_of(Outer)["properties"]
    assert properties["labels"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert properties["size"] == {"x-kubernetes-int-or-string": True, "description": "How big."}
    assert properties["share"] == {"type": "number"}
    assert properties["on"] == {"type": "boolean"}
    assert properties["many"]["maxItems"] == 2
    assert properties["inner"]["properties"]["count"]["format"] == "int64"


@pytest.mark.parametrize("type_", [bytes, str | bool, int | dict[str, str]])
def test_types_that_no_crd_can_express_are_refused(type_: Any) -> None:
    with pytest.raises(TypeError, match="no structural schema"):
        schema_of(type_)


def test_constraints_do_not_hinder_decoding() -> None:
    decoded = msgspec.json.decode(b'{"requiredName": "longer than five"}', type=Inner)
    assert decoded.required_name == "longer than five"
