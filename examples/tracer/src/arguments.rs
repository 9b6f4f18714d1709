//! Podtracer's `-a`: the arguments of a tool as one text.

/// Why a text is no list of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quote at byte {at} is never closed; arguments after `--` need no quotes of their own")]
pub(crate) struct Unclosed {
    at: usize,
}

/// Splits at spaces. Within a pair of quotes, single or double, a space is one; all else stands for itself, a backslash too:
/// podtracer knew no quotes, but filters with backslashes were written for it.
pub(crate) fn split(text: &str) -> Result<Vec<String>, Unclosed> {
    let mut arguments = Vec::new();
    let mut argument: Option<String> = None;
    let mut open = None;
    for (at, c) in text.char_indices() {
        match (open, c) {
            (Some((quote, _)), _) if c == quote => open = None,
            (Some(_), _) => argument.get_or_insert_default().push(c),
            (None, ' ') => arguments.extend(argument.take()),
            (None, '"' | '\'') => {
                // Two quotes with nothing between are an argument, too.
                argument.get_or_insert_default();
                open = Some((c, at));
            }
            (None, _) => argument.get_or_insert_default().push(c),
        }
    }
    if let Some((_, at)) = open {
        return Err(Unclosed { at });
    }
    arguments.extend(argument);
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_as_podtracers_users_expect() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  ", &[]),
            ("addr show", &["addr", "show"]),
            (" -i  eth0 ", &["-i", "eth0"]),
            ("-w - 'tcp port 80'", &["-w", "-", "tcp port 80"]),
            (r#"-c "echo it's" x"#, &["-c", "echo it's", "x"]),
            (r"ip proto \icmp", &["ip", "proto", r"\icmp"]),
            ("a''b '' \"\"", &["ab", "", ""]),
            ("a\tb\nc", &["a\tb\nc"]),
        ];
        for (text, arguments) in cases {
            assert_eq!(split(text).unwrap(), arguments, "{text}");
        }
        assert_eq!(split("a 'b"), Err(Unclosed { at: 2 }));
    }
}
