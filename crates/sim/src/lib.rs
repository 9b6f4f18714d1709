//! A Kubernetes API in a process: list, watch, bookmarks, 410, faults, churn.
