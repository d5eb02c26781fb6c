from __future__ import annotations

import ipaddress
import random

from kcpctl.embedded.kubelet.addresses import AddressPool


def test_an_owner_keeps_its_address_until_it_gives_it_back() -> None:
    pool = AddressPool(random.Random(1))
    first = pool.take("a")
    assert pool.take("a") == first
    assert pool.take("b") != first
    pool.release("a")
    pool.release("a")
    assert pool.take("c") == first


def test_addresses_are_loopback_and_never_shared() -> None:
    pool = AddressPool(random.Random(7))
    taken = [pool.take(str(number)) for number in range(600)]
    assert len(set(taken)) == 600
    assert all(ipaddress.ip_address(address).is_loopback for address in taken)
