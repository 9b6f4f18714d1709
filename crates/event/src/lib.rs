//! What happened to a pod's network, as plain data.
