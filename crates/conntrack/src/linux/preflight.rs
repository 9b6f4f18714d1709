use std::fmt;
use std::io::ErrorKind::NotFound;
use std::path::PathBuf;
use std::{fs, io};

use podtrail_netns::Netns;

use crate::{Error, ErrorKind, Result};

/// From this share of its limit on, a table is said to be filling up.
const FILLING: f64 = 0.8;

/// What of the kernel's settings decides how much can be known of connections: the sysctls `net.netfilter.nf_conntrack_*` of a
/// network namespace.
///
/// Reading changes nothing; [`enable`](Self::enable) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preflight {
    /// Whether packets and bytes of new connections are counted (`_acct`).
    pub accounting: bool,
    /// Whether new connections have times (`_timestamp`); `None` if the kernel is built without.
    pub timestamps: Option<bool>,
    /// Whether connections send events (`_events`); `None` if the kernel is built without.
    pub events: Option<EventMode>,
    /// Connections that are there (`_count`).
    pub entries: u32,
    /// How many there may be (`_max`); 0 is no limit.
    pub max_entries: u32,
}

/// Which connections send events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventMode {
    /// 0: none.
    Off,
    /// 1: all that begin from now on.
    On,
    /// 2, the default since Linux 5.19: those that begin while somebody listens.
    Auto,
}

/// Something that a [`Preflight`] found: what it costs, and what to do about it, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// What it costs.
    pub cost: &'static str,
    /// What to do.
    pub remedy: String,
}

/// What a [`Preflight`] may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Nothing is counted.
    AccountingOff,
    /// Connections have no times.
    TimestampsOff,
    /// There are no events.
    EventsOff,
    /// There are events of those connections only that began while somebody listened.
    EventsAuto,
    /// The table is nearly full.
    TableFilling,
}

impl Preflight {
    /// Reads the settings of a network namespace.
    ///
    /// # Errors
    ///
    /// The kind is [`NoTracking`](ErrorKind::NoTracking) if the kernel does not track connections,
    /// [`Namespace`](ErrorKind::Namespace) if the namespace cannot be entered, and [`Sysctl`](ErrorKind::Sysctl) if a setting
    /// cannot be read.
    pub fn read(netns: &Netns) -> Result<Self> {
        run(netns, read_here)
    }

    /// Switches accounting, times and events on, for connections that begin from now on, and reads the settings then.
    ///
    /// What the kernel is built without stays off.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); [`Sysctl`](ErrorKind::Sysctl) also if a setting may not be changed. Some may have been then.
    pub fn enable(netns: &Netns) -> Result<Self> {
        run(netns, || {
            let before = read_here()?;
            if !before.accounting {
                switch_on("acct")?;
            }
            if before.timestamps == Some(false) {
                switch_on("timestamp")?;
            }
            if before.events.is_some_and(|events| events != EventMode::On) {
                switch_on("events")?;
            }
            read_here()
        })
    }

    /// How full the table is: 1 is full; 0 if there is no limit.
    pub fn fill(&self) -> f64 {
        if self.max_entries == 0 { 0.0 } else { f64::from(self.entries) / f64::from(self.max_entries) }
    }

    /// What is off or too full; empty if all is well.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |kind, cost, remedy: String| findings.push(Finding { kind, cost, remedy });
        if !self.accounting {
            add(
                FindingKind::AccountingOff,
                "packets and bytes are not counted",
                format!("{}; connections that are there already stay uncounted", sysctl("acct")),
            );
        }
        if self.timestamps != Some(true) {
            add(
                FindingKind::TimestampsOff,
                "connections have no start and no end, so that one cannot be told from a later one with the same addresses and id",
                self.timestamps.map_or_else(
                    || "a kernel with CONFIG_NF_CONNTRACK_TIMESTAMP is needed".into(),
                    |_| format!("{}; connections that are there already stay without", sysctl("timestamp")),
                ),
            );
        }
        match self.events {
            Some(EventMode::On) => {}
            Some(EventMode::Auto) => add(
                FindingKind::EventsAuto,
                "connections that began before anybody listened end without an event, and what they carried last is not known",
                sysctl("events"),
            ),
            events => add(
                FindingKind::EventsOff,
                "connections end without an event: what they carried after the last dump is not known",
                events.map_or_else(
                    || "a kernel with CONFIG_NF_CONNTRACK_EVENTS is needed".into(),
                    |_| format!("{}; connections that are there already stay without", sysctl("events")),
                ),
            ),
        }
        if self.fill() >= FILLING {
            add(
                FindingKind::TableFilling,
                "when the table is full, packets that would begin a connection are dropped",
                format!(
                    "sysctl -w net.netfilter.nf_conntrack_max={} in the machine's first network namespace",
                    self.max_entries.saturating_mul(2)
                ),
            );
        }
        findings
    }
}

/// One line: what costs what, and what to do.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind, self.cost, self.remedy)
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AccountingOff => "accounting is off",
            Self::TimestampsOff => "timestamps are off",
            Self::EventsOff => "events are off",
            Self::EventsAuto => "events are automatic",
            Self::TableFilling => "the table is filling up",
        })
    }
}

fn run<T: Send>(netns: &Netns, closure: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    netns.run(closure).map_err(|e| {
        let what = format!("cannot read the settings of network namespace {}", netns.inode());
        Error::caused(ErrorKind::Namespace, what, e)
    })?
}

/// The settings of the thread's network namespace: its files under `/proc/sys/net` are the namespace's.
fn read_here() -> Result<Preflight> {
    let Some(entries) = setting("count")? else {
        let what = "the kernel does not track connections: nf_conntrack is not loaded, or /proc/sys not mounted";
        return Err(Error::new(ErrorKind::NoTracking, what));
    };
    Ok(Preflight {
        accounting: setting("acct")?.is_some_and(|value| value != 0),
        timestamps: setting("timestamp")?.map(|value| value != 0),
        events: setting("events")?.map(|value| match value {
            0 => EventMode::Off,
            1 => EventMode::On,
            _ => EventMode::Auto,
        }),
        entries,
        max_entries: setting("max")?.unwrap_or_default(),
    })
}

/// The value of a setting, or `None` if the kernel does not have it.
fn setting(name: &str) -> Result<Option<u32>> {
    let cannot = |e: io::Error| cannot("read", name, e);
    match fs::read_to_string(path(name)) {
        Ok(text) => text.trim().parse().map(Some).map_err(|e| cannot(io::Error::other(e))),
        Err(e) if e.kind() == NotFound => Ok(None),
        Err(e) => Err(cannot(e)),
    }
}

fn switch_on(name: &str) -> Result<()> {
    fs::write(path(name), "1").map_err(|e| cannot("set", name, e))
}

fn cannot(what: &str, name: &str, e: io::Error) -> Error {
    Error::caused(ErrorKind::Sysctl, format!("cannot {what} net.netfilter.nf_conntrack_{name}"), e)
}

fn path(name: &str) -> PathBuf {
    format!("/proc/sys/net/netfilter/nf_conntrack_{name}").into()
}

fn sysctl(name: &str) -> String {
    format!("sysctl -w net.netfilter.nf_conntrack_{name}=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Preflight = Preflight {
        accounting: true,
        timestamps: Some(true),
        events: Some(EventMode::On),
        entries: 79,
        max_entries: 100,
    };

    #[track_caller]
    fn check(preflight: Preflight, expected: &[(FindingKind, &str)]) {
        let findings = preflight.findings();
        let found: Vec<_> = findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(found, expected.iter().map(|(kind, _)| *kind).collect::<Vec<_>>());
        for (finding, (_, remedy)) in findings.iter().zip(expected) {
            assert!(finding.remedy.contains(remedy), "{finding}");
            assert!(finding.to_string().starts_with(&finding.kind.to_string()));
        }
    }

    #[test]
    fn each_thing_that_is_off_is_found_with_its_remedy() {
        check(GOOD, &[]);
        check(Preflight { max_entries: 0, ..GOOD }, &[]);
        let accounting = (FindingKind::AccountingOff, "nf_conntrack_acct=1");
        check(Preflight { accounting: false, ..GOOD }, &[accounting]);
        let timestamps = (FindingKind::TimestampsOff, "nf_conntrack_timestamp=1");
        check(Preflight { timestamps: Some(false), ..GOOD }, &[timestamps]);
        let events = (FindingKind::EventsOff, "nf_conntrack_events=1");
        check(Preflight { events: Some(EventMode::Off), ..GOOD }, &[events]);
        let auto = (FindingKind::EventsAuto, "nf_conntrack_events=1");
        check(Preflight { events: Some(EventMode::Auto), ..GOOD }, &[auto]);
        let full = (FindingKind::TableFilling, "nf_conntrack_max=200");
        check(Preflight { entries: 80, ..GOOD }, &[full]);
        let built = [(FindingKind::TimestampsOff, "_TIMESTAMP"), (FindingKind::EventsOff, "_EVENTS")];
        check(Preflight { timestamps: None, events: None, ..GOOD }, &built);
    }
}
