"""One process: informers, controllers, leader election, health, metrics and signals.

``Manager`` starts and stops them in order; ``install`` turns SIGTERM and SIGINT into the event
that ``Manager.run`` waits for.
"""

from kcpctl.manager.election import Election, ElectionOptions, new_identity
from kcpctl.manager.endpoint import Endpoint
from kcpctl.manager.manager import Manager
from kcpctl.manager.parts import Factory
from kcpctl.manager.signals import install

__all__ = [
    "Election",
    "ElectionOptions",
    "Endpoint",
    "Factory",
    "Manager",
    "install",
    "new_identity",
]
