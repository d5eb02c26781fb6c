"""The library example as a process of its own, against a scripted API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kcpctl.runtime import IOLoop
from kcpctl.testing import eventually
from kcpctl.testing.scripted import Received, Reply, ScriptedServer, status_body

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_controller.py"
GREETINGS = "/apis/example.com/v1/greetings"
META = {"name": "first", "namespace": "default", "uid": "u1", "resourceVersion": "7"}
GREETING: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Greeting",
    "metadata": META,
    "spec": {"to": "world"},
}


def greetings(request: Received) -> Reply:
    """One Greeting in the list, and a watch in which nothing happens; no streams of the state."""
    if "sendInitialEvents" in request.query:
        return Reply(status_body(400, "BadRequest", "what?"), status=400)
    if request.query.get("watch"):
        return Reply(chunks=[], ending="hang")
    metadata = {"resourceVersion": "7"}
    items = {"apiVersion": "example.com/v1", "kind": "GreetingList", "metadata": metadata}
    return Reply({**items, "items": [GREETING]})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with IOLoop("test-servers") as loop:
        made = ScriptedServer()
        made.on("GET", GREETINGS, greetings)
        status = "/apis/example.com/v1/namespaces/default/greetings/first/status"
        made.on("PATCH", status, lambda request: Reply({**GREETING, **request.json()}))
        events = "/apis/events.k8s.io/v1/namespaces/default/events"
        made.on("POST", events, lambda request: Reply(request.json(), status=201))
        loop.run(made.start())
        yield made
        loop.run(made.stop())


@pytest.fixture
def running(server: ScriptedServer, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    kubeconfig = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig.write_text(json.dumps(config))
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE)], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_it_answers_a_greeting_and_stops_on_ctrl_c(
    server: ScriptedServer, running: subprocess.Popen[str]
) -> None:
    def written(method: str, part: str) -> dict[str, Any]:
        for request in list(server.received):
            if request.method == method and part in request.path:
                body: dict[str, Any] = request.json()
                return body
        return {}

    assert eventually(lambda: written("PATCH", "/status")) == {
        "status": {"answer": "Hello, world!"},
        "metadata": {"uid": "u1", "resourceVersion": "7"},
    }
    event = eventually(lambda: written("POST", "/events"))
    assert (event["reason"], event["note"]) == ("Greeted", "Hello, world!")
    assert event["regarding"]["name"] == "first"
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 0
    assert running.stderr is not None
    assert "Traceback" not in running.stderr.read()


def test_it_is_under_40_lines() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 40
