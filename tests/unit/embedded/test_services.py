from __future__ import annotations

import random
from typing import Any

from kcpctl.embedded.services import allocate

Json = dict[str, Any]


def service(**spec: Any) -> Json:
    return {"metadata": {"name": "s"}, "spec": {"type": "ClusterIP", **spec}}


def run(new: Json, old: Json | None = None, *others: Json) -> list[str]:
    return [str(cause) for cause in allocate(new, old, others, random.Random(1))]


def test_a_service_gets_a_free_address() -> None:
    first, second = service(), service()
    assert run(first) == []
    assert run(second, None, first) == []
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    assert first["spec"]["clusterIPs"] == [first["spec"]["clusterIP"]]


def test_a_headless_service_keeps_none() -> None:
    headless = service(clusterIP="None")
    assert run(headless) == []
    assert headless["spec"]["clusterIP"] == "None"


def test_an_external_name_has_no_address() -> None:
    external = service(type="ExternalName", externalName="x.y")
    assert run(external) == []
    assert "clusterIP" not in external["spec"]


def test_addresses_outside_the_range_or_taken_are_refused() -> None:
    assert "does not match the current range" in run(service(clusterIP="1.2.3.4"))[0]
    taken = service(clusterIP="10.0.0.20", clusterIPs=["10.0.0.20"])
    assert "already allocated" in run(service(clusterIP="10.0.0.20"), None, taken)[0]


def test_an_update_keeps_the_address() -> None:
    old = service(clusterIP="10.0.0.20", clusterIPs=["10.0.0.20"])
    new = service()
    assert run(new, old) == []
    assert new["spec"]["clusterIP"] == "10.0.0.20"


def test_node_ports_are_allocated_kept_and_given_back() -> None:
    ports = [{"port": 80}, {"port": 81, "name": "b"}]
    node = service(type="NodePort", ports=ports)
    assert run(node) == []
    numbers = [port["nodePort"] for port in node["spec"]["ports"]]
    assert len(set(numbers)) == 2
    assert all(30000 <= number <= 32767 for number in numbers)
    again = service(type="NodePort", ports=ports)
    run(again, node)
    assert [port["nodePort"] for port in again["spec"]["ports"]] == numbers
    back = service(ports=node["spec"]["ports"])
    run(back, node)
    assert all("nodePort" not in port for port in back["spec"]["ports"])


def test_node_ports_out_of_range_or_taken_are_refused() -> None:
    wanted = service(type="NodePort", ports=[{"port": 80, "nodePort": 80}])
    assert "not in the valid range" in run(wanted)[0]
    taken = service(type="NodePort", ports=[{"port": 80, "nodePort": 30001}])
    wanted = service(type="NodePort", ports=[{"port": 80, "nodePort": 30001}])
    assert "already allocated" in run(wanted, None, taken)[0]
