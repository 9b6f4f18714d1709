//! Which Kubernetes pod held an IP address, at any instant.
