use std::fmt;

use ring::digest::{Context, SHA256};

/// SHA-256 of what comes in parts.
#[derive(Clone)]
pub(crate) struct Sha256(Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Of this and no more, as [`hex`](Self::hex).
    pub(crate) fn of(bytes: &[u8]) -> String {
        let mut hasher = Self::new();
        hasher.update(bytes);
        hasher.hex()
    }

    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// 64 hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_in_whatever_parts() {
        let whole = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc"), whole);
        let mut parts = Sha256::new();
        [&b"a"[..], b"", b"bc"].into_iter().for_each(|part| parts.update(part));
        assert_eq!(parts.hex(), whole);
    }
}
