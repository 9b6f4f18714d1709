use podtrail_event::Timestamp;

/// 2200-01-01T00:00:00Z: later stamps are no stamps of a pod.
const LATEST: Timestamp = Timestamp::from_second(7_258_118_400);
const EARLIEST: Timestamp = Timestamp::from_second(0);

/// The instant that an API object's stamp says, if it says one between 1970 and 2200.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let at = fixed(text.as_bytes()).or_else(|| text.parse().ok())?;
    (EARLIEST..LATEST).contains(&at).then_some(at)
}

/// The form that API servers print, `2026-01-24T20:45:00Z` with an optional fraction; anything else is left to the
/// general parser.
fn fixed(b: &[u8]) -> Option<Timestamp> {
    let (head, tail) = b.split_first_chunk::<19>()?;
    let punctuation = [head[4], head[7], head[10], head[13], head[16]];
    if punctuation != *b"--T::" {
        return None;
    }
    let (year, month, day) = (number(&head[..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) = (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..19])?);
    if !(1970..2200).contains(&year) || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months = usize::try_from(month - 1).ok()?;
    if day < 1 || day > lengths[months] {
        return None;
    }
    let fraction = match tail {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            (digits.len()..9).try_fold(number(digits)?, |n, _| n.checked_mul(10))?
        }
        _ => return None,
    };
    let past = year - 1;
    // Days before this year since year 1, less those before 1970.
    let years = past * 365 + past / 4 - past / 100 + past / 400 - 719_162;
    let days = years + lengths[..months].iter().sum::<i64>() + day - 1;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp::from_nanosecond(seconds * 1_000_000_000 + fraction))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fast_path_knows_the_calendar() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-01-24T20:45:00Z",
            "2024-02-29T23:59:59.999999999Z",
            "2100-03-01T00:00:00.5Z",
            "2199-12-31T23:59:59Z",
        ] {
            assert_eq!(fixed(text.as_bytes()), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_stamp_of_a_pod() {
        for text in [
            "",
            "now",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2200-01-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-24 20:45:00é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("2026-01-24T21:45:00+01:00"), parse("2026-01-24T20:45:00Z"));
    }

    proptest! {
        #[test]
        fn fast_path_agrees_with_the_general_parser(ns in 0_i64..7_258_118_400_000_000_000) {
            let at = Timestamp::from_nanosecond(ns);
            prop_assert_eq!(fixed(at.to_string().as_bytes()), Some(at));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
