"""A controller for a custom resource of one's own: it answers each Greeting in its status.

It takes $KUBECONFIG or ~/.kube/config, of a server with examples/greetings_crd.yaml.
"""

from kcpctl.apis.resource import Resource
from kcpctl.controller import Controller, Request, commit
from kcpctl.errors import NotFound
from kcpctl.manager import Manager, install

GREETINGS = Resource("example.com", "v1", "greetings", "Greeting")


class Greeter:
    def __init__(self, manager: Manager) -> None:
        self.client = manager.client
        self.informer = manager.informers.informer(GREETINGS)
        self.events = manager.recorder("greeter")

    def reconcile(self, request: Request) -> None:  # on a worker thread: it may block
        try:
            greeting = self.informer.lister.get(request.key)  # "cluster|namespace/name"
        except NotFound:
            return  # it was deleted
        answer = f"Hello, {greeting['spec']['to']}!"
        client = self.client.cluster(request.cluster).resource(GREETINGS)
        if commit(client, greeting, {**greeting, "status": {"answer": answer}}):
            self.events.event(greeting, "Normal", "Greeted", answer)


def main() -> None:
    with Manager.connect() as manager:
        greeter = Greeter(manager)
        manager.add(Controller("greeter", greeter).watches(greeter.informer))
        manager.run(install())


if __name__ == "__main__":
    main()
