//! Who held an address, when: interval algebra, in-memory index, durable store.
