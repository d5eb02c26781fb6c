"""What kube-controller-manager does, as far as the embedded server needs it."""
