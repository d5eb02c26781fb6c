"""A small kubelet: one Node whose Pods are Running at once, or are local kcpctl processes."""

from kcpctl.embedded.kubelet.kubelet import Kubelet
from kcpctl.embedded.kubelet.pod_worker import ServerAccess

__all__ = ["Kubelet", "ServerAccess"]
