//! The gRPC contracts: snoopy, and an acknowledged stream of our own.
