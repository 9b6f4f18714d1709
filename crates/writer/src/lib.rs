//! Deliver records to a backend: the writer contract, outbox, retry, fan-out.
