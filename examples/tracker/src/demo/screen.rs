//! What the demonstration shows: lines for people, and the events among them.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _, Write as _};

use async_trait::async_trait;
use podtrail_daemon::escape;
use podtrail_event::{EventKind, PodEvent, Record, Timestamp};
use podtrail_writer::{Batch, Committed, Error, Writer};
use tokio::sync::watch;

/// Standard output, a whole line at a time; coloured only where somebody looks at it and has not refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    colour: bool,
}

/// How a line stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Good,
    Ending,
    Alarm,
    Aside,
}

impl Tone {
    /// The number of its colour or style on a terminal, ECMA-48 SGR.
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Title => "1",
            Self::Good => "32",
            Self::Ending => "33",
            Self::Alarm => "31",
            Self::Aside => "2",
        }
    }
}

impl Screen {
    pub(super) fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: io::stdout().is_terminal() && !refused }
    }

    /// Shows a line.
    pub(super) fn line(self, tone: Tone, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.colour && tone != Tone::Plain {
            writeln!(out, "\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            writeln!(out, "{text}")
        }
    }
}

/// What has been shown of the events so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) gaps: usize,
    /// UIDs of the pods that are known to be gone.
    pub(super) deleted: HashSet<String>,
}

/// A writer that shows events as they come.
pub(super) struct Narrator {
    screen: Screen,
    shown: watch::Sender<Shown>,
}

impl Narrator {
    pub(super) fn new(screen: Screen) -> (Self, watch::Receiver<Shown>) {
        let (shown, seen) = watch::channel(Shown::default());
        (Self { screen, shown }, seen)
    }

    fn show(&self, line: &[u8]) -> io::Result<()> {
        let text = std::str::from_utf8(line).map_err(io::Error::other)?;
        let record = Record::from_json(text).map_err(io::Error::other)?;
        let (tone, text) = told(&record);
        self.screen.line(tone, &text)?;
        self.shown.send_modify(|shown| match &record {
            Record::Pod(event) if event.event == EventKind::Deleted => {
                shown.deleted.insert(event.pod.uid.clone());
            }
            Record::Gap(_) => shown.gaps += 1,
            _ => {}
        });
        Ok(())
    }
}

#[async_trait]
impl Writer for Narrator {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        // Whoever watches a demonstration does not come back: a closed pipe ends it.
        let shown = batch.items.iter().try_for_each(|item| self.show(&item.line));
        shown.map_err(|e| Error::fatal("the screen", e))?;
        Ok(Committed::default())
    }
}

/// A record in one line.
fn told(record: &Record) -> (Tone, String) {
    match record {
        Record::Pod(event) => pod(event),
        Record::Gap(event) => {
            let gap = &event.gap;
            let lasted = gap.to.saturating_duration_since(gap.from).as_secs_f64();
            let text = format!(
                "{:>11}  GAP       {} were not watched for {lasted:.1} s, since {}",
                clock(gap.to),
                escape(&gap.source),
                clock(gap.from)
            );
            (Tone::Alarm, text)
        }
        _ => (Tone::Plain, escape(&record.to_json(None)).into_owned()),
    }
}

fn pod(event: &PodEvent) -> (Tone, String) {
    let (tone, word) = match event.event {
        EventKind::Created => (Tone::Good, "created"),
        EventKind::AddressAssigned => (Tone::Good, "assigned"),
        EventKind::AddressReleased => (Tone::Ending, "released"),
        _ => (Tone::Ending, "deleted"),
    };
    let address = event.address.as_ref().map(|address| address.ip.to_string()).unwrap_or_default();
    let who = format!("{}/{}", event.pod.namespace, event.pod.name);
    let node = event.pod.node.as_deref().unwrap_or_default();
    let how = match event.source.as_str() {
        "get" => "  (a confirmation found it)",
        "list" => "  (a new list shows it)",
        _ => "",
    };
    // One that may still come is said to be after its earliest time.
    let time = event.time.latest.map_or_else(|| format!(">{}", clock(event.time.earliest)), clock);
    let text = format!("{time:>11}  {word:<8}  {address:<14}  {:<22}  {}{how}", escape(&who), escape(node));
    (tone, text.trim_end().to_owned())
}

/// The time of day, in UTC, to the tenth of a second.
fn clock(at: Timestamp) -> String {
    let tenths = at.as_nanosecond().div_euclid(100_000_000).rem_euclid(864_000);
    let seconds = tenths / 10;
    format!("{:02}:{:02}:{:02}.{}", seconds / 3600, seconds / 60 % 60, seconds % 60, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_time_of_day() {
        for (at, shown) in [
            ("1970-01-01T00:00:00Z", "00:00:00.0"),
            ("2026-01-24T20:45:09.999Z", "20:45:09.9"),
            ("1969-12-31T23:59:59.25Z", "23:59:59.2"),
        ] {
            assert_eq!(clock(at.parse().unwrap()), shown);
        }
    }

    #[test]
    fn an_event_is_one_line_that_cannot_drive_a_terminal() {
        let line = r#"{"v":1,"event":"gap","id":"00000000000000000000000000000001","cluster":{"uid":"c"},"source":"po\u001bds","from":"2026-01-24T20:45:00Z","to":"2026-01-24T20:45:02.5Z","reason":"x"}"#;
        let (tone, text) = told(&Record::from_json(line).unwrap());
        assert_eq!(tone, Tone::Alarm);
        assert_eq!(text, " 20:45:02.5  GAP       po\\u{1b}ds were not watched for 2.5 s, since 20:45:00.0");
    }
}
