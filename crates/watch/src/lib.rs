//! A gap-aware stream of pod and node changes from a Kubernetes API.
