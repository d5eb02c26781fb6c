"""Leader election on Leases: one process of several acts, the others are ready."""

from kcpctl.manager.election.election import Election
from kcpctl.manager.election.options import ElectionOptions, new_identity

__all__ = ["Election", "ElectionOptions", "new_identity"]
