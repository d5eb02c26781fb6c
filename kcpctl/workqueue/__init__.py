"""Work queues: distinct keys, delays, back-off. They know nothing of Kubernetes.

``RateLimitingQueue`` is the one that controllers use; the other two are its lower layers.
"""

from kcpctl.workqueue.delaying import DelayingQueue
from kcpctl.workqueue.errors import ShutDown
from kcpctl.workqueue.fair import Fair
from kcpctl.workqueue.limiters import (
    ClusterBucket,
    ItemExponential,
    ItemFastSlow,
    MaxOf,
    RateLimiter,
    WithMaxWait,
    default_limiter,
)
from kcpctl.workqueue.metrics import QueueMetrics
from kcpctl.workqueue.ordering import Fifo, Ordering
from kcpctl.workqueue.parallel import parallelize
from kcpctl.workqueue.priority import LOW_PRIORITY, Priority
from kcpctl.workqueue.queue import WorkQueue
from kcpctl.workqueue.ratelimiting import RateLimitingQueue
from kcpctl.workqueue.snapshot import QueueSnapshot

__all__ = [
    "LOW_PRIORITY",
    "ClusterBucket",
    "DelayingQueue",
    "Fair",
    "Fifo",
    "ItemExponential",
    "ItemFastSlow",
    "MaxOf",
    "Ordering",
    "Priority",
    "QueueMetrics",
    "QueueSnapshot",
    "RateLimiter",
    "RateLimitingQueue",
    "ShutDown",
    "WithMaxWait",
    "WorkQueue",
    "default_limiter",
    "parallelize",
]
