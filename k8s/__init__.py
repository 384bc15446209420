"""Kubernetes: what `make k8s-up` runs. Manifests are in base/, components/ and overlays/."""
