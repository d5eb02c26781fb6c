"""The ClusterRegistration controller: is the cluster there, and what is on it."""

from kcpctl.reconcilers.clusterregistration.controller import new_controller
from kcpctl.reconcilers.clusterregistration.options import ClusterRegistrationOptions

__all__ = ["ClusterRegistrationOptions", "new_controller"]
