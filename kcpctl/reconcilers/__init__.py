"""The domain: what kcpctl's own controllers do. SyncTargets first."""
