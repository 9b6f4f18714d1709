//! Values of flags as Go's packages read them, for podtracer's users.

use std::time::Duration;

/// A boolean, as `strconv.ParseBool` reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false"),
    }
}

/// A duration that is not negative, as `time.ParseDuration` reads it: numbers with units, or a bare 0.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let of_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut sum: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c| !of_number(c)).unwrap_or(rest.len()));
        let (unit, next) = after.split_at(after.find(of_number).unwrap_or(after.len()));
        sum += parts(number)?.checked_mul(scale(unit)?)? / FRACTION;
        rest = next;
    }
    // Go's have 63 bits.
    i64::try_from(sum).ok().map(i64::unsigned_abs).map(Duration::from_nanos)
}

/// The parts of a unit: of an hour, they are less than a nanosecond.
const FRACTION: u128 = 1_000_000_000_000_000;

/// `1.5`, `.5` or `5.`, in parts of a unit.
fn parts(number: &str) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits = fraction.bytes().map(|digit| u128::from(digit - b'0')).chain(std::iter::repeat(0)).take(15);
    Some(u128::from(whole) * FRACTION + digits.fold(0, |sum, digit| sum * 10 + digit))
}

fn scale(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_gos() {
        for (texts, expected) in [
            (["1", "t", "T", "true", "TRUE", "True"], Ok(true)),
            (["0", "f", "F", "false", "FALSE", "False"], Ok(false)),
            (["", "yes", "tRUE", "2", " true", "on"], Err("neither true nor false")),
        ] {
            for text in texts {
                assert_eq!(boolean(text), expected, "{text}");
            }
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.5m0.5s", 90_500_000_000),
            ("+1h30m", 5_400_000_000_000),
            ("1s1s", 2_000_000_000),
            ("1us2\u{b5}s3\u{3bc}s4ms5ns", 4_006_005),
            ("9223372036854775807ns", i64::MAX.unsigned_abs()),
        ] {
            assert_eq!(duration(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
        // Of a fraction that is longer than Go reads, what is below a nanosecond is left out.
        let third = duration("0.3333333333333333333333333333h");
        assert_eq!(third, Some(Duration::from_nanos(1_199_999_999_999)));
        let none =
            ["", "+", "-1s", "3", "s", ".s", "1.2.3s", "1d", "1 s", "1S", "1e1s", "+-1s", "9223372036854775808ns"];
        for text in
            none.into_iter().chain(["99999999999999999999s", "18446744073709551615h18446744073709551615h", "\u{661}s"])
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
