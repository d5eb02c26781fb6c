"""The development control plane: a Kubernetes API server with kcp's logical clusters, in memory."""
