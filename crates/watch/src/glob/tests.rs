use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    let globs = Globs::new([pattern]).unwrap();
    for text in yes {
        assert!(globs.matches(text), "{pattern:?} matches {text:?}");
    }
    for text in no {
        assert!(!globs.matches(text), "{pattern:?} does not match {text:?}");
    }
}

#[test]
fn matches_as_podtracker_does() {
    check("*-system", &["kube-system", "-system"], &["system", "kube-system-x"]);
    check("*", &["", "a", "a/b"], &[]);
    check("**", &["", "a", "a/b"], &[]);
    check("team-?", &["team-a", "team-é"], &["team-", "team-ab"]);
    check("team-[a-c]", &["team-a", "team-c"], &["team-d", "team-", "team-ab", "team--"]);
    check("team-[!a-c]", &["team-d", "team-!"], &["team-a", "team-"]);
    check("[abc]", &["a", "b", "c"], &["d", "", "ab"]);
    check("[!abc]", &["d"], &["a", ""]);
    check("{dev,prod}-*", &["dev-1", "prod-"], &["dev", "test-1", "adev-1"]);
    check(r"a\*b", &["a*b"], &["ab", "axb"]);
    check("default", &["default"], &["defaults", "Default", ""]);
    check("", &[""], &["a"]);
}

#[test]
fn matches_nested_and_odd_patterns() {
    check("{a,b*}", &["a", "b", "bcd"], &["ab", "c"]);
    check("{a,{b,c}x}y", &["ay", "bxy", "cxy"], &["axy", "by", "y"]);
    check("{,a}b", &["b", "ab"], &["a"]);
    check("a{b}c", &["abc"], &["ac"]);
    check("a*b*c", &["abc", "axbxc", "abcbc"], &["ab", "acb"]);
    check("a,b", &["a,b"], &["a", "b"]);
    check("a}b]", &["a}b]"], &[]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[-a]", &["a", "-"], &["b"]);
    check(r"[\]a]", &["]", "a"], &["\\"]);
    check(r"[a-cx-z0]", &["b", "y", "0"], &["d", "1"]);
    check("[a!]", &["a", "!"], &["b"]);
    check(r"\{a,b\}", &["{a,b}"], &["a"]);
    check("*?", &["a", "ab"], &[""]);
}

#[test]
fn refuses_what_is_no_glob_and_says_where() {
    let deep = "{".repeat(33);
    let long = "a".repeat(1025);
    for (pattern, place) in [
        ("ab[cd", "at byte 2"),
        ("a{b,c", "at byte 1"),
        ("a{b{c}", "at byte 1"),
        ("a[]", "at byte 1"),
        ("a[!]", "at byte 1"),
        ("[z-a]", "at byte 3"),
        (r"ab\", "at byte 2"),
        (r"[a\", "at byte 2"),
        (deep.as_str(), "32 deep"),
        (long.as_str(), "longer than 1024"),
    ] {
        let error = Globs::new([pattern]).unwrap_err();
        assert!(error.to_string().contains(place), "{error}");
        assert!(!error.is_retryable());
    }
    assert!(Globs::new(vec!["a"; 1025]).is_err());
}

#[test]
fn a_list_matches_if_one_does_and_an_empty_one_never() {
    let globs = Globs::new(["a*", "b"]).unwrap();
    assert!(globs.matches("ax") && globs.matches("b") && !globs.matches("c"));
    assert!(Globs::default().is_empty() && !Globs::default().matches(""));
    assert!(Globs::all().matches("anything") && Globs::all() == Globs::new(["*"]).unwrap());
    assert_eq!(format!("{globs:?}"), r#"["a*", "b"]"#);
}

#[test]
fn a_filter_excludes_from_what_it_includes() {
    assert!(NamespaceFilter::default().matches("x"));
    let filter = NamespaceFilter { include: Globs::new(["team-*"]).unwrap(), exclude: Globs::new(["*-b"]).unwrap() };
    assert!(filter.matches("team-a") && !filter.matches("team-b") && !filter.matches("other"));
}

#[test]
fn lists_are_split_at_outer_commas() {
    for (list, parts) in [
        ("", &[] as &[&str]),
        ("a", &["a"]),
        (" a , b,,", &["a", "b"]),
        ("{a,b},c", &["{a,b}", "c"]),
        ("{a,{b,c}},d", &["{a,{b,c}}", "d"]),
        ("[,],a", &["[,]", "a"]),
        ("[{],a", &["[{]", "a"]),
        (r"a\,b,c", &[r"a\,b", "c"]),
        (r"\{a,b", &[r"\{a", "b"]),
        ("a},b", &["a}", "b"]),
    ] {
        assert_eq!(split_list(list), parts, "{list}");
    }
}

#[test]
fn hard_patterns_take_no_longer_than_their_length_times_the_text() {
    let globs = Globs::new([format!("{}b", "*a".repeat(500)), format!("{}c", "{a,a*}".repeat(160))]).unwrap();
    let begun = std::time::Instant::now();
    assert!(!globs.matches(&"a".repeat(1000)));
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "exponential in a debug build would be for ever");
}

/// Backtracking over the pattern's text: the obvious way, for short patterns.
fn reference(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|n| reference(rest, &text[n..])),
        ['?', rest @ ..] => !text.is_empty() && reference(rest, &text[1..]),
        ['\\', c, rest @ ..] => text.first() == Some(c) && reference(rest, &text[1..]),
        ['[', '!', low, '-', high, ']', rest @ ..] => {
            text.first().is_some_and(|c| !(*low..=*high).contains(c)) && reference(rest, &text[1..])
        }
        ['[', low, '-', high, ']', rest @ ..] => {
            text.first().is_some_and(|c| (*low..=*high).contains(c)) && reference(rest, &text[1..])
        }
        ['{', rest @ ..] => {
            let (mut depth, mut start, mut parts, mut end) = (1, 0, Vec::new(), 0);
            for (at, c) in rest.iter().enumerate() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (depth == 1 && *c == ',') {
                    parts.push(&rest[start..at]);
                    start = at + 1;
                }
                if depth == 0 {
                    end = at + 1;
                    break;
                }
            }
            parts.iter().any(|part| reference(&[part, &rest[end..]].concat(), text))
        }
        [c, rest @ ..] => text.first() == Some(c) && reference(rest, &text[1..]),
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[abc-]{1,2}".prop_map(String::from),
        Just("*".to_owned()),
        Just("**".to_owned()),
        Just("?".to_owned()),
        Just("[a-b]".to_owned()),
        Just("[!a-b]".to_owned()),
        Just(r"\*".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|parts| parts.concat()),
            proptest::collection::vec(inner, 1..3).prop_map(|parts| format!("{{{}}}", parts.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_the_obvious_way(pattern in pattern(), text in "[abc*-]{0,6}") {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        let expected = reference(&chars(&pattern), &chars(&text));
        prop_assert_eq!(Globs::new([&pattern]).unwrap().matches(&text), expected, "{} {}", pattern, text);
    }

    #[test]
    fn never_panics(pattern in r"[\[\]{}!,*?\\ab-]{0,40}", text in "[ab*-]{0,10}") {
        if let Ok(globs) = Globs::new([&pattern]) {
            globs.matches(&text);
        }
        for part in split_list(&pattern) {
            prop_assert!(!part.is_empty());
        }
    }
}
