"""The syncer: the agent that runs what is assigned to a SyncTarget on its cluster.

What it syncs: ConfigMaps, Secrets, Services and Deployments that carry the target's state label,
or live in a namespace that does. ``run_syncer`` is the program, ``Syncer`` the library.
"""

from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.options import SyncerOptions
from kcpctl.syncer.program import run_syncer
from kcpctl.syncer.syncer import Syncer, SyncFailed

__all__ = ["GateClosed", "SyncFailed", "Syncer", "SyncerOptions", "run_syncer"]
