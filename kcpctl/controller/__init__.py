"""The run loop of a controller, and what reconcilers write with.

``Controller`` takes keys from informers' events to a ``Reconciler`` on worker threads;
``commit`` writes the difference a reconcile made, ``commit_applied`` the whole of it server-side;
``EventRecorder`` tells people about it.
"""

from kcpctl.controller.committer import commit, commit_applied
from kcpctl.controller.controller import Controller
from kcpctl.controller.events import EventRecorder, ObjectReference
from kcpctl.controller.finalizers import (
    add_finalizer,
    finalizers_of,
    has_finalizer,
    is_deleting,
    remove_finalizer,
)
from kcpctl.controller.mapping import MapFunction, for_owner
from kcpctl.controller.per_resource import ResourceControllers
from kcpctl.controller.predicates import (
    AnnotationChanged,
    GenerationChanged,
    LabelChanged,
    Predicate,
    ResourceVersionChanged,
    all_of,
    any_of,
    not_,
)
from kcpctl.controller.request import Reconciler, Request, Result

__all__ = [
    "AnnotationChanged",
    "Controller",
    "EventRecorder",
    "GenerationChanged",
    "LabelChanged",
    "MapFunction",
    "ObjectReference",
    "Predicate",
    "Reconciler",
    "Request",
    "ResourceControllers",
    "ResourceVersionChanged",
    "Result",
    "add_finalizer",
    "all_of",
    "any_of",
    "commit",
    "commit_applied",
    "finalizers_of",
    "for_owner",
    "has_finalizer",
    "is_deleting",
    "not_",
    "remove_finalizer",
]
