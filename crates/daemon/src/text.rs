//! Text from outside, made safe to print on one line.

use std::borrow::Cow;

/// `text` from outside for one line of a terminal: every character that could break the line, move the cursor or turn the
/// reading direction is written as `\u{…}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(unsafe_to_print) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unsafe_to_print(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

fn unsafe_to_print(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_direction_is_escaped() {
        for (text, expected) in [
            ("plain, with é and 界", "plain, with é and 界"),
            ("two\nlines\r\t", "two\\nlines\\r\\t"),
            ("\x1b[31mred\x7f", "\\u{1b}[31mred\\u{7f}"),
            ("c1 \u{9b}2J", "c1 \\u{9b}2J"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }
}
