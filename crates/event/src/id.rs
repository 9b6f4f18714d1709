use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The identity of a record: 16 bytes of BLAKE3 over what the record is about, printed as 32 hex digits.
///
/// The same fact has the same id wherever and however often it is seen, so a reader removes doubles by id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// The id of what `parts` name, in order. Each part's length is hashed too: no two lists of parts give one input.
    pub fn derive(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = crate::Error;

    /// # Errors
    /// If `s` is not 32 hex digits.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(crate::Error::new("event id", s, "not 32 hex digits"));
        }
        let value = u128::from_str_radix(s, 16).map_err(|e| crate::Error::new("event id", s, e))?;
        Ok(Self(value.to_be_bytes()))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_for_the_same_parts_only() {
        let id = EventId::derive(&[b"a", b"bc"]);
        assert_eq!(id, EventId::derive(&[b"a", b"bc"]));
        assert_ne!(id, EventId::derive(&[b"ab", b"c"]));
        assert_ne!(id, EventId::derive(&[b"a", b"bc", b""]));
    }

    #[test]
    fn never_changes_between_releases() {
        assert_eq!(EventId::derive(&[b"podtrail"]).to_string(), "6ac31104771043c4fbe8e316d5a7ffd0");
    }

    #[test]
    fn parses_what_it_prints() {
        let id = EventId::derive(&[b"x"]);
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        for text in ["", "zz", "+0000000000000000000000000000000", "0123"] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
