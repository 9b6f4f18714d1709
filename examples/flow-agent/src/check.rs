//! `flow-agent check`: which of the kernel's settings are off, what that costs and what to do.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use podtrail_conntrack::{ErrorKind, EventMode, Events, Finding, FindingKind, Preflight, Subscription};
use podtrail_daemon::{Exit, Failure, escape};
use podtrail_netns::Netns;
use serde::Serialize;

use crate::args::{CheckArgs, ReportFormat};
use crate::{failure, open_netns};

pub(crate) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let paths = if args.netns.is_empty() { vec![None] } else { args.netns.iter().map(Some).collect() };
    let mut is_well = true;
    for path in paths {
        let report = Report::read(path, args.enable)?;
        let mut out = io::stdout().lock();
        match args.output {
            ReportFormat::Text => report.print(&mut out),
            ReportFormat::Json => report.print_json(&mut out),
        }
        .context("cannot print")?;
        is_well &= report.findings.is_empty();
    }
    Ok(if is_well { Exit::Ok } else { Exit::Failure })
}

/// What is to be said of a network namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    v: u8,
    kind: &'static str,
    netns: u64,
    path: Option<String>,
    net_admin: bool,
    /// `None` if the kernel does not track connections.
    settings: Option<Settings>,
    findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    accounting: bool,
    timestamps: Option<bool>,
    events: Option<&'static str>,
    entries: u32,
    /// `None` if there is no limit.
    max_entries: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Found {
    kind: &'static str,
    /// What was found, in words.
    what: String,
    cost: &'static str,
    remedy: String,
}

impl Report {
    fn read(path: Option<&PathBuf>, enable: bool) -> Result<Self, Failure> {
        let netns = open_netns(path.map(PathBuf::as_path))?;
        let preflight = if enable { Preflight::enable(&netns) } else { Preflight::read(&netns) };
        let preflight = match preflight {
            Ok(preflight) => Some(preflight),
            Err(e) if e.kind() == ErrorKind::NoTracking => None,
            Err(e) => return Err(failure(e)),
        };
        let net_admin = has_net_admin(&netns)?;
        let mut findings: Vec<_> = preflight.iter().flat_map(Preflight::findings).map(Found::from).collect();
        if preflight.is_none() {
            findings.push(Found {
                kind: "no-tracking",
                what: "the kernel does not track connections".to_owned(),
                cost: "there is nothing to count",
                remedy: "modprobe nf_conntrack; in a container, mount /proc/sys".to_owned(),
            });
        }
        if !net_admin {
            findings.push(Found {
                kind: "no-net-admin",
                what: "CAP_NET_ADMIN is missing".to_owned(),
                cost: "the connection table cannot be read",
                remedy: "run as root; in Kubernetes, securityContext.capabilities.add: [\"NET_ADMIN\"]".to_owned(),
            });
        }
        let path = path.map(|path| path.display().to_string());
        let settings = preflight.map(|preflight| Settings::from(&preflight));
        Ok(Self { v: 1, kind: "check", netns: netns.inode(), path, net_admin, settings, findings })
    }

    fn print_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        match &self.path {
            Some(path) => writeln!(out, "network namespace {} ({})", self.netns, escape(path))?,
            None => writeln!(out, "network namespace {}", self.netns)?,
        }
        let word = |is_on| if is_on { "on" } else { "off" };
        writeln!(out, "  CAP_NET_ADMIN  {}", if self.net_admin { "there" } else { "missing" })?;
        if let Some(settings) = &self.settings {
            const NEVER: &str = "not in this kernel";
            writeln!(out, "  accounting     {}", word(settings.accounting))?;
            writeln!(out, "  timestamps     {}", settings.timestamps.map_or(NEVER, word))?;
            writeln!(out, "  events         {}", settings.events.unwrap_or(NEVER))?;
            let entries = settings.entries;
            match settings.max_entries {
                Some(max) => {
                    let percent = f64::from(entries) * 100.0 / f64::from(max);
                    writeln!(out, "  connections    {entries} of {max}, {percent:.1} %")?;
                }
                None => writeln!(out, "  connections    {entries}, without a limit")?,
            }
        }
        for Found { what, cost, remedy, .. } in &self.findings {
            writeln!(out, "{what}: {cost}\n  {remedy}")?;
        }
        if self.settings.as_ref().is_some_and(Settings::can_be_enabled) {
            writeln!(out, "with --enable, what is off is switched on")?;
        }
        if self.findings.is_empty() { writeln!(out, "all is well") } else { Ok(()) }
    }
}

impl Settings {
    /// Whether something is off that this kernel has.
    fn can_be_enabled(&self) -> bool {
        !self.accounting || self.timestamps == Some(false) || self.events.is_some_and(|events| events != "on")
    }
}

/// Whether events may be listened to; they are not waited for.
fn has_net_admin(netns: &Netns) -> Result<bool, Failure> {
    match Events::open_in(&Subscription::default().reliable(false), netns) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::MissingCapability => Ok(false),
        Err(e) => Err(failure(e)),
    }
}

impl From<&Preflight> for Settings {
    fn from(preflight: &Preflight) -> Self {
        Self {
            accounting: preflight.accounting,
            timestamps: preflight.timestamps,
            events: preflight.events.map(|events| match events {
                EventMode::Off => "off",
                EventMode::On => "on",
                _ => "auto",
            }),
            entries: preflight.entries,
            max_entries: Some(preflight.max_entries).filter(|max| *max > 0),
        }
    }
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let kind = match finding.kind {
            FindingKind::AccountingOff => "accounting-off",
            FindingKind::TimestampsOff => "timestamps-off",
            FindingKind::EventsOff => "events-off",
            FindingKind::EventsAuto => "events-auto",
            FindingKind::TableFilling => "table-filling",
            _ => "other",
        };
        Self { kind, what: finding.kind.to_string(), cost: finding.cost, remedy: finding.remedy }
    }
}
