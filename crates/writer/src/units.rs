//! Sizes and durations as people write them.

use std::time::Duration;

/// A size in bytes as a [`Spec`](crate::Spec) has it: a whole number, alone or with KiB, MiB, GiB (powers of 1024) or k, M, G
/// (powers of 1000). `None` if it is no size, 0 or too large.
pub fn size(text: &str) -> Option<u64> {
    let units =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
    scaled(text, &units, 1)
}

/// A duration: a whole number with s, m, h or d.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    scaled(text, &units, 0).map(Duration::from_secs)
}

/// The number times its unit, or times `bare` without one; `None` if that is 0 or too large.
fn scaled(text: &str, units: &[(&str, u64)], bare: u64) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => bare,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|value| *value > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_their_units() {
        for (text, bytes) in [
            ("1", 1),
            ("64MiB", 64 << 20),
            ("3KiB", 3072),
            ("2GiB", 2 << 30),
            ("5k", 5000),
            ("7M", 7_000_000),
            ("1G", 1_000_000_000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in
            ["", "0", "MiB", "-1", "+1", "1.5MiB", "1 MiB", "1mib", "1s", "99999999999G", "18446744073709551616"]
        {
            assert!(size(text).is_none(), "{text}");
        }
    }

    #[test]
    fn durations_have_their_units() {
        for (text, seconds) in [("1s", 1), ("5m", 300), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "0s", "h", "1h30m", "1ms", "-1s", "99999999999999999999d"] {
            assert!(duration(text).is_none(), "{text}");
        }
    }
}
