//! Durations as people write them.

use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// A duration such as `90s`, `5m`, `1h30m` or `100ms`, for a flag's `value_parser`. It may be zero.
///
/// # Errors
///
/// [`ErrorKind::Duration`] when the text is none, or a negative one.
pub fn duration(text: &str) -> Result<Duration> {
    let refused = |why: &str| Error::new(ErrorKind::Duration, why.to_owned());
    let signed: jiff::SignedDuration =
        text.parse().map_err(|_why: jiff::Error| refused("not a duration, such as 30s, 5m or 1h30m"))?;
    Duration::try_from(signed).map_err(|_why| refused("a duration cannot be negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_are_not_negative() {
        for (text, seconds) in [("0s", 0), ("2s", 2), ("1m30s", 90), ("1h30m", 5400)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "5", "soon", "1e9h", "99999999999999999999h"] {
            assert!(duration(text).unwrap_err().to_string().starts_with("not a duration"), "{text}");
        }
        assert_eq!(duration("-1s").unwrap_err().to_string(), "a duration cannot be negative");
    }
}
