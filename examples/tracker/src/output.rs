//! Claims for people and for scripts.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use podtrail_daemon::escape;
use podtrail_event::{Bounds, Claim, Subject, Timestamp};
use podtrail_ledger::Held;

/// Prints claims one by one; what a table needs to be drawn is kept until the end.
pub(crate) enum Printer<W: Write> {
    Text(Box<Table>, Times, W),
    Json(W),
    Csv(Box<csv::Writer<W>>),
}

/// How times are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    Absolute,
    /// As how long before this.
    Before(Timestamp),
}

const HEADER: [&str; 12] = [
    "network",
    "ip",
    "subject",
    "namespace",
    "name",
    "uid",
    "node",
    "start_earliest",
    "start_latest",
    "end_earliest",
    "end_latest",
    "shared",
];

impl<W: Write> Printer<W> {
    pub(crate) fn text(times: Times, out: W) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["IP", "HOLDER", "NODE", "SINCE", "UNTIL", "NETWORK", "UID"]);
        Self::Text(Box::new(table), times, out)
    }

    pub(crate) const fn json(out: W) -> Self {
        Self::Json(out)
    }

    pub(crate) fn csv(out: W) -> io::Result<Self> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(HEADER)?;
        Ok(Self::Csv(Box::new(csv)))
    }

    pub(crate) fn print(&mut self, held: &Held) -> io::Result<()> {
        let claim = &held.claim;
        match self {
            Self::Text(table, times, _) => {
                let how = if held.shared { " (hostNetwork)" } else { "" };
                table.add_row([
                    claim.ip.to_string(),
                    format!("{}{how}", escape(&holder(claim))),
                    escape(&claim.node).into_owned(),
                    start(claim.start, *times),
                    end(claim.end, *times),
                    escape(&claim.network).into_owned(),
                    escape(&claim.uid).into_owned(),
                ]);
            }
            Self::Json(out) => {
                #[derive(serde::Serialize)]
                struct Line<'a> {
                    v: u8,
                    #[serde(flatten)]
                    claim: &'a Claim,
                    shared: bool,
                }
                serde_json::to_writer(&mut *out, &Line { v: 1, claim, shared: held.shared })?;
                out.write_all(b"\n")?;
            }
            Self::Csv(csv) => csv.write_record(cells(held))?,
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Text(table, _, mut out) => {
                if table.row_count() == 0 {
                    return writeln!(out, "nothing found");
                }
                for line in table.lines() {
                    writeln!(out, "{}", line.trim_end())?;
                }
                out.flush()
            }
            Self::Json(mut out) => out.flush(),
            Self::Csv(mut csv) => csv.flush(),
        }
    }
}

fn cells(held: &Held) -> [String; 12] {
    let claim = &held.claim;
    let time = |t: Option<Timestamp>| t.map(|t| t.to_string()).unwrap_or_default();
    [
        formula_safe(&claim.network),
        claim.ip.to_string(),
        subject(claim.subject).to_owned(),
        formula_safe(&claim.namespace),
        formula_safe(&claim.name),
        formula_safe(&claim.uid),
        formula_safe(&claim.node),
        time(Some(claim.start.earliest)),
        time(claim.start.latest),
        time(claim.end.map(|end| end.earliest)),
        time(claim.end.and_then(|end| end.latest)),
        held.shared.to_string(),
    ]
}

/// A cell that a spreadsheet would take for a formula gets an apostrophe in front, and so does one that begins with an
/// apostrophe: taking one away gives the text back.
fn formula_safe(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']);
    if risky { format!("'{text}") } else { text.to_owned() }
}

const fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Pod => "pod",
        Subject::Node => "node",
    }
}

/// Who holds it, in a word.
pub(crate) fn holder(claim: &Claim) -> String {
    match claim.subject {
        Subject::Pod => format!("pod {}/{}", claim.namespace, claim.name),
        Subject::Node => format!("node {}", claim.name),
    }
}

fn one(at: Timestamp, times: Times) -> String {
    let Times::Before(now) = times else { return seconds(at) };
    let ago = now.saturating_duration_since(at).as_secs();
    match ago {
        0..60 => format!("{ago}s ago"),
        60..3600 => format!("{}m{}s ago", ago / 60, ago % 60),
        3600..86400 => format!("{}h{}m ago", ago / 3600, ago % 3600 / 60),
        _ => format!("{}d{}h ago", ago / 86400, ago % 86400 / 3600),
    }
}

/// To the tenth of a second: more says nothing here.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_nanosecond(at.as_nanosecond().div_euclid(100_000_000) * 100_000_000).to_string()
}

/// A bound, and how wide it is.
fn within(bounds: Bounds, times: Times) -> String {
    let Some(latest) = bounds.latest else { return format!("maybe since {}", one(bounds.earliest, times)) };
    let width = latest.saturating_duration_since(bounds.earliest).as_secs_f64();
    if width < 0.05 { one(latest, times) } else { format!("{} (-{width:.1}s)", one(latest, times)) }
}

fn start(bounds: Bounds, times: Times) -> String {
    within(bounds, times)
}

fn end(bounds: Option<Bounds>, times: Times) -> String {
    // Not "now": the ledger may be that of a tracker which stopped long ago.
    bounds.map_or_else(|| "open".to_owned(), |bounds| within(bounds, times))
}

/// When a claim held, in a sentence's end.
pub(crate) fn span(claim: &Claim) -> String {
    let until = match claim.end {
        Some(Bounds { earliest, latest: None }) => format!("until {} at least", seconds(earliest)),
        Some(ended) => format!("until {}", within(ended, Times::Absolute)),
        None => "open".to_owned(),
    };
    format!("since {}, {until}", start(claim.start, Times::Absolute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM", "\tx", "\rx", "'x"] {
            let safe = formula_safe(text);
            assert!(safe.starts_with('\'') && safe[1..] == *text, "{text}");
        }
        assert_eq!(formula_safe("web-1"), "web-1");
    }

    #[test]
    fn times_read_well() {
        let t = Timestamp::from_second;
        let bounds = |a, b: Option<i64>| Bounds { earliest: t(a), latest: b.map(t) };
        assert_eq!(within(bounds(10, Some(12)), Times::Absolute), "1970-01-01T00:00:12Z (-2.0s)");
        assert_eq!(within(bounds(12, Some(12)), Times::Before(t(75))), "1m3s ago");
        assert_eq!(within(bounds(12, None), Times::Before(t(90_012))), "maybe since 1d1h ago");
        assert_eq!(end(None, Times::Absolute), "open");
    }
}
