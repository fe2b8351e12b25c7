"""What stands between a gateway and a runner on Knative: ingress, activator, queue-proxy."""
