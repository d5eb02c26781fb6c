"""Work queues: distinct keys, delays, back-off. They know nothing of Kubernetes.

``RateLimitingQueue`` is the one that controllers use; the other two are its lower layers.
"""

from kcpctl.workqueue.delaying import DelayingQueue
from kcpctl.workqueue.errors import ShutDown
from kcpctl.workqueue.limiters import (
    ItemExponential,
    ItemFastSlow,
    MaxOf,
    RateLimiter,
    WithMaxWait,
    default_limiter,
)
from kcpctl.workqueue.metrics import QueueMetrics
from kcpctl.workqueue.ordering import Fifo, Ordering
from kcpctl.workqueue.queue import QueueSnapshot, WorkQueue
from kcpctl.workqueue.ratelimiting import RateLimitingQueue

__all__ = [
    "DelayingQueue",
    "Fifo",
    "ItemExponential",
    "ItemFastSlow",
    "MaxOf",
    "Ordering",
    "QueueMetrics",
    "QueueSnapshot",
    "RateLimiter",
    "RateLimitingQueue",
    "ShutDown",
    "WithMaxWait",
    "WorkQueue",
    "default_limiter",
]
