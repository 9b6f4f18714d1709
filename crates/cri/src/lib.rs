//! From a pod to its sandbox to its network namespace, over CRI v1.
