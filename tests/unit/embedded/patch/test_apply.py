from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.patch import server_side_apply, track_update
from kcpctl.embedded.schema import root_schema, schema_for
from kcpctl.embedded.status import StatusError

NOW = 1_700_000_000.9
STAMP = "2023-11-14T22:13:20Z"
CONFIG_MAP = schema_for("", "v1", "ConfigMap") or {}
DEPLOYMENT = schema_for("apps", "v1", "Deployment") or {}
WIDGET = root_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer"},
                    "plain": {"type": "array", "items": {"type": "string"}},
                    "tags": {
                        "type": "array",
                        "x-kubernetes-list-type": "set",
                        "items": {"type": "string"},
                    },
                    "ports": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
                        },
                    },
                    "atom": {
                        "type": "object",
                        "x-kubernetes-map-type": "atomic",
                        "additionalProperties": {"type": "string"},
                    },
                },
            },
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
        },
    }
)


def config_map(**data: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    return {**obj, "data": data} if data else obj


def widget(status: Any = None, **spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": "e.io/v1", "kind": "Widget", "metadata": {"name": "w"}}
    obj |= {"spec": spec} if spec else {}
    return obj | ({"status": status} if status else {})


def apply(
    live: Any, applied: Any, manager: str = "one", *, now: float = NOW, **options: Any
) -> dict[str, Any]:
    core = applied["apiVersion"] == "v1"
    before = copy.deepcopy((live, applied))
    result = server_side_apply(
        live,
        applied,
        manager,
        CONFIG_MAP if core else WIDGET,
        force=options.pop("force", False),
        now=now,
        api_version=applied["apiVersion"],
        **options,
    )
    assert (live, applied) == before
    return result


def update(old: Any, new: Any, manager: str = "ctl", *, now: float = NOW, **options: Any) -> Any:
    core = new["apiVersion"] == "v1"
    return track_update(
        old,
        new,
        manager,
        CONFIG_MAP if core else WIDGET,
        now=now,
        api_version=new["apiVersion"],
        **options,
    )


def owners(obj: dict[str, Any]) -> dict[str, Any]:
    entries = obj["metadata"].get("managedFields", ())
    return {f"{e['manager']} {e['operation']}": e["fieldsV1"] for e in entries}


def conflict(live: Any, applied: Any, manager: str = "two") -> StatusError:
    with pytest.raises(StatusError) as caught:
        apply(live, applied, manager)
    return caught.value


def test_creating_by_apply_owns_what_was_applied() -> None:
    obj = apply(None, config_map(a="1"))
    assert obj["data"] == {"a": "1"}
    assert obj["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": STAMP,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}},
        }
    ]


def test_one_conflict_is_named_with_its_field() -> None:
    error = conflict(apply(None, config_map(a="1")), config_map(a="2"))
    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert error.details == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "one"',
                "field": ".data.a",
            }
        ]
    }


def test_a_conflict_with_an_update_names_its_version_and_subresource() -> None:
    live = update(None, widget(size=1), "creator")
    assert conflict(live, widget(size=2)).message == (
        'Apply failed with 1 conflict: conflict with "creator" using e.io/v1: .spec.size'
    )
    live = update(live, {**live, "status": {"phase": "Ready"}}, "ctl", subresource="status")
    with pytest.raises(StatusError) as caught:
        apply(live, widget(status={"phase": "Other"}), "two", subresource="status")
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "ctl" with subresource "status" using '
        "e.io/v1: .status.phase"
    )


def test_several_conflicts_are_listed() -> None:
    live = apply(None, widget(plain=["x"], atom={"a": "1"}, ports=[{"name": "p1", "port": 1}]))
    other = widget(plain=["y"], atom={"b": "2"}, ports=[{"name": "p1", "port": 9}])
    error = conflict(live, other)
    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n'
        "- .spec.atom\n"
        "- .spec.plain\n"
        '- .spec.ports[name="p1"].port'
    )


def test_force_takes_the_field_over() -> None:
    live = apply(None, config_map(a="1", b="1"))
    obj = apply(live, config_map(a="2"), "two", force=True)
    assert obj["data"] == {"a": "2", "b": "1"}
    assert owners(obj) == {
        "one Apply": {"f:data": {"f:b": {}}},
        "two Apply": {"f:data": {"f:a": {}}},
    }


def test_applying_the_same_value_shares_the_field_and_either_can_leave() -> None:
    live = apply(apply(None, config_map(a="1")), config_map(a="1"), "two")
    assert set(owners(live)) == {"one Apply", "two Apply"}
    left = apply(live, config_map(), "one")
    assert left["data"] == {"a": "1"}
    assert set(owners(left)) == {"two Apply"}
    assert "data" not in apply(left, config_map(), "two")


def test_what_is_no_longer_applied_is_removed() -> None:
    live = apply(None, config_map(a="1", b="2"))
    assert apply(live, config_map(b="2"))["data"] == {"b": "2"}


def test_what_others_added_inside_of_what_is_removed_stays() -> None:
    live = apply(None, config_map(a="1"))
    live = update(live, {**live, "data": {"a": "1", "x": "9"}})
    assert apply(live, config_map())["data"] == {"x": "9"}


def test_elements_of_sets_and_maps_have_their_own_owners() -> None:
    live = apply(None, widget(tags=["a"], ports=[{"name": "p1", "port": 1}]))
    obj = apply(live, widget(tags=["b"], ports=[{"name": "p2", "port": 2}]), "two")
    assert obj["spec"]["tags"] == ["a", "b"]
    assert obj["spec"]["ports"] == [{"name": "p1", "port": 1}, {"name": "p2", "port": 2}]
    assert owners(obj)["two Apply"]["f:spec"] == {
        "f:ports": {'k:{"name":"p2"}': {".": {}, "f:name": {}, "f:port": {}}},
        "f:tags": {'v:"b"': {}},
    }
    without = apply(obj, widget(tags=["b"]), "two")
    assert without["spec"]["ports"] == [{"name": "p1", "port": 1}]


def test_the_order_of_an_applied_list_holds_between_the_others_elements() -> None:
    live = apply(None, widget(tags=["x", "a", "b"]))
    obj = apply(live, widget(tags=["b", "new", "a"]), "two", force=True)
    assert sorted(obj["spec"]["tags"]) == ["a", "b", "new", "x"]
    order = obj["spec"]["tags"]
    assert order.index("b") < order.index("new") < order.index("a")


def test_an_apply_that_changes_nothing_keeps_its_time() -> None:
    live = apply(None, config_map(a="1"))
    assert apply(live, config_map(a="1"), now=NOW + 100) == live


def test_status_is_applied_through_its_endpoint_only() -> None:
    applied = widget(size=1, status={"phase": "Ready"})
    main = apply(None, applied, reset_fields=("status",))
    assert "status" not in main
    assert owners(main) == {"one Apply": {"f:spec": {"f:size": {}}}}
    both = apply(main, widget(size=9, status={"phase": "Ready"}), subresource="status")
    assert both["spec"] == {"size": 1}
    assert both["status"] == {"phase": "Ready"}
    entry = next(e for e in both["metadata"]["managedFields"] if "subresource" in e)
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:phase": {}}}


def test_an_object_that_nobody_owns_belongs_to_before_first_apply() -> None:
    live = config_map(a="1", b="1")
    obj = apply(live, config_map(a="1"))
    fields: dict[str, Any] = {".": {}, "f:a": {}, "f:b": {}}
    assert owners(obj) == {
        "one Apply": {"f:data": {"f:a": {}}},
        "before-first-apply Update": {"f:data": fields},
    }
    assert "before-first-apply" in conflict(live, config_map(a="2")).message


@pytest.mark.parametrize(
    ("applied", "detail"),
    [
        (widget(foo=1), ".spec.foo: field not declared in schema"),
        (widget(size="x"), ".spec.size: expected numeric (int or float), got string"),
        (widget(tags=["a", "a"]), '.spec.tags: duplicate entries for key [="a"]'),
        (
            widget(ports=[{"name": "p"}, {"name": "p"}]),
            '.spec.ports: duplicate entries for key [name="p"]',
        ),
        (widget(tags="no"), ".spec.tags: expected list, got &{no}"),
        (
            widget(ports=[{"port": 1}]),
            (
                ".spec.ports: element 0: associative list with keys has an element that omits key "
                'field "name" (and doesn\'t have default value)'
            ),
        ),
    ],
)
def test_what_does_not_fit_the_schema_is_500(applied: Any, detail: str) -> None:
    error = conflict(None, applied)
    assert (error.code, error.reason) == (500, "")
    assert error.message == (
        f"failed to create typed patch object (/w; e.io/v1, Kind=Widget): {detail}"
    )


def test_managed_fields_cannot_be_applied() -> None:
    applied = config_map(a="1")
    applied["metadata"]["managedFields"] = [{"manager": "x"}]
    error = conflict(None, applied)
    assert (error.code, error.message) == (400, "metadata.managedFields must be nil")


def test_structs_by_value_have_no_owner_of_their_own() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i", "resources": {}}]}}
    new = {"metadata": {"name": "d"}, "spec": {"template": template, "strategy": {}}, "status": {}}
    obj = track_update(None, new, "m", DEPLOYMENT, now=NOW, api_version="apps/v1")
    containers: dict[str, Any] = {
        'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}},
    }
    assert obj["metadata"]["managedFields"][0]["fieldsV1"] == {
        "f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}
    }


def test_an_update_owns_what_it_changed_and_others_lose_it() -> None:
    live = apply(None, config_map(a="1", b="1"))
    obj = update(live, {**live, "data": {"a": "2", "c": "3"}}, now=NOW + 60)
    assert owners(obj) == {"ctl Update": {"f:data": {"f:a": {}, "f:c": {}}}}
    assert obj["metadata"]["managedFields"][0]["time"] == "2023-11-14T22:14:20Z"


def test_an_update_that_changes_nothing_keeps_everything() -> None:
    live = update(None, config_map(a="1"))
    assert update(live, live, "other", now=NOW + 60) == live


def test_an_object_created_with_a_name_only_stays_untracked() -> None:
    bare = update(None, config_map())
    assert "managedFields" not in bare["metadata"]
    later = update({**bare, "metadata": {**bare["metadata"], "uid": "u"}}, config_map(a="1"))
    assert "managedFields" not in later["metadata"]


@pytest.mark.parametrize("sent", [[], [{}]])
def test_an_empty_list_resets_the_owners(sent: Any) -> None:
    live = apply(None, config_map(a="1"))
    new = {**live, "metadata": {**live["metadata"], "managedFields": sent}}
    assert "managedFields" not in update(live, new)["metadata"]


def test_owners_that_cannot_be_read_are_ignored() -> None:
    live = apply(None, config_map(a="1"))
    sent = [{"manager": "x", "operation": "Bogus"}]
    new = {**live, "metadata": {**live["metadata"], "managedFields": sent}}
    assert owners(update(live, new)) == owners(live)


def test_entries_are_sorted_appliers_first_then_by_time() -> None:
    live = update(None, config_map(a="1"), "z-first", now=NOW)
    live = update(live, {**live, "data": {"a": "1", "b": "1"}}, "a-second", now=NOW + 10)
    live = apply(live, config_map(c="1"), "last", now=NOW + 20)
    managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert managers == ["last", "z-first", "a-second"]


DATA = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), min_size=1)
# Nobody can own an empty set or map list, on the real server neither.
NAMED = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("pqr"), "port": st.integers(1, 2)}),
    unique_by=lambda port: str(port["name"]),
    min_size=1,
    max_size=3,
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 2),
        "tags": st.lists(st.sampled_from("xyz"), unique=True, min_size=1, max_size=3),
        "ports": NAMED,
        "atom": st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"), max_size=2),
    },
)


@given(SPECS, SPECS)
def test_applying_twice_is_applying_once(first: Any, second: Any) -> None:
    live = apply(None, widget(**first))
    once = apply(live, widget(**second), "two", force=True)
    assert apply(once, widget(**second), "two", now=NOW + 60) == once


@given(SPECS, SPECS)
def test_after_a_forced_apply_every_applied_field_has_its_value(first: Any, second: Any) -> None:
    live = apply(None, widget(**first))
    spec = apply(live, widget(**second), "two", force=True).get("spec") or {}
    for key in ("size", "atom"):
        if key in second:
            assert spec[key] == second[key]
    assert set(second.get("tags", ())) <= set(spec.get("tags") or ())
    ports = {port["name"]: port["port"] for port in spec.get("ports") or ()}
    assert all(ports[port["name"]] == port["port"] for port in second.get("ports", ()))


@given(DATA, DATA)
def test_applying_and_leaving_gives_back_what_was_there(first: Any, second: Any) -> None:
    live = apply(None, config_map(**first))
    fresh = {key: value for key, value in second.items() if key not in first}
    both = apply(live, config_map(**fresh), "two")
    left = apply(both, config_map(), "two")
    assert left == live


@given(DATA, DATA, DATA)
def test_no_field_is_left_without_an_owner(first: Any, second: Any, third: Any) -> None:
    live = apply(None, config_map(**first))
    live = update(live, {**live, "data": second})
    live = apply(live, config_map(**third), "two", force=True)
    owned = {
        field
        for fields in owners(live).values()
        for field in fields.get("f:data", {})
        if field != "."
    }
    assert owned == {f"f:{key}" for key in live["data"]}
