//! What `proto/` gives, for the sides that are in; `tests/generated.rs` holds it to that.

#[rustfmt::skip]
pub(crate) mod output;
#[rustfmt::skip]
#[path = "protobuf.rs"]
pub(crate) mod snoopy;
