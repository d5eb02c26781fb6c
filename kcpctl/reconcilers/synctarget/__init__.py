"""The SyncTarget controller: a physical cluster becomes a place where workloads can run."""

from kcpctl.reconcilers.synctarget.controller import SyncTargetController, new_controller
from kcpctl.reconcilers.synctarget.options import SyncTargetOptions
from kcpctl.reconcilers.synctarget.reconcile import SyncTargetReconciler

__all__ = ["SyncTargetController", "SyncTargetOptions", "SyncTargetReconciler", "new_controller"]
