use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC, in nanoseconds since 1970, between the years 1677 and 2262.
///
/// Printed and parsed as RFC 3339; printed with `Z` and as few fractional digits as the value needs.
///
/// ```
/// use podtrail_event::Timestamp;
///
/// let at: Timestamp = "2026-01-24T20:45:00.25Z".parse()?;
/// assert_eq!(at.as_nanosecond() % 1_000_000_000, 250_000_000);
/// assert_eq!(at.to_string(), "2026-01-24T20:45:00.25Z");
/// # Ok::<(), podtrail_event::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be said.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant that can be said.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `ns` nanoseconds after 1970-01-01T00:00:00Z.
    pub const fn from_nanosecond(ns: i64) -> Self {
        Self(ns)
    }

    /// The instant `s` seconds after 1970-01-01T00:00:00Z, or the nearest that can be said.
    pub const fn from_second(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub const fn as_nanosecond(self) -> i64 {
        self.0
    }

    /// The instant `d` later, or [`MAX`](Self::MAX).
    pub fn saturating_add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(d)))
    }

    /// The instant `d` earlier, or [`MIN`](Self::MIN).
    pub fn saturating_sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(d)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        u64::try_from(self.0.saturating_sub(earlier.0)).map_or(Duration::ZERO, Duration::from_nanos)
    }

    /// The instant as Go's `2006-01-02T15:04:05-0700` prints it in UTC: whole seconds, zone `+0000`.
    pub fn to_podtracker(self) -> String {
        self.zoned().strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
    }

    fn zoned(self) -> jiff::Zoned {
        self.jiff().to_zoned(jiff::tz::TimeZone::UTC)
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).expect("64 bits of nanoseconds are within jiff's range")
    }
}

fn nanoseconds(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(nanoseconds(after)),
            Err(before) => Self(nanoseconds(before.duration()).saturating_neg()),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.jiff(), f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = crate::Error;

    /// # Errors
    /// If `s` is not an RFC 3339 time with a zone, or is outside the years 1677 to 2262.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parsed: jiff::Timestamp = s.parse().map_err(|e| crate::Error::new("time", s, e))?;
        i64::try_from(parsed.as_nanosecond()).map(Self).map_err(|e| crate::Error::new("time", s, e))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
        for text in ["1970-01-01T00:00:00Z", "2026-01-24T20:45:00.000000001Z", "1999-12-31T23:59:59.5Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        let east: Timestamp = "2026-01-24T21:45:00+01:00".parse().unwrap();
        assert_eq!(east.to_string(), "2026-01-24T20:45:00Z");
        assert_eq!(east.to_podtracker(), "2026-01-24T20:45:00+0000");
    }

    #[test]
    fn refuses_what_is_no_instant() {
        for text in
            ["", "yesterday", "2026-01-24", "2026-01-24T20:45:00", "2026-13-01T00:00:00Z", "9999-01-01T00:00:00Z"]
        {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn stays_within_its_bounds() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        let (one, two) = (Timestamp::from_second(1), Timestamp::from_second(2));
        assert_eq!(one.saturating_duration_since(two), Duration::ZERO);
        assert_eq!(two.saturating_duration_since(one), Duration::from_secs(1));
        assert!(!Timestamp::MIN.to_string().is_empty() && !Timestamp::MAX.to_string().is_empty());
    }
}
