"""kcpctl: informers, work queues and controllers for Kubernetes and kcp logical clusters.

Importing this package costs next to nothing; the parts are imported from where they live:
:mod:`kcpctl.client`, :mod:`kcpctl.informers`, :mod:`kcpctl.workqueue`, :mod:`kcpctl.controller`,
:mod:`kcpctl.manager`, :mod:`kcpctl.clusters`, :mod:`kcpctl.reconcilers`, :mod:`kcpctl.syncer`,
:mod:`kcpctl.synctargets`, :mod:`kcpctl.testing`.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
