//! What the agent wrote.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::truth::{Counts, Name};

/// All lines of a file.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) ids: Vec<String>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) gaps: Vec<Gap>,
}

#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) name: Name,
    pub(crate) generation: Option<u64>,
    pub(crate) netns: u64,
    pub(crate) delta: Option<Counts>,
    pub(crate) total: Option<Counts>,
    pub(crate) is_closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Gap {
    pub(crate) reason: String,
    pub(crate) lost: Option<u64>,
    /// Nanoseconds since 1970.
    pub(crate) from: i128,
    pub(crate) to: i128,
}

impl Lines {
    /// What is not written to its end is left out.
    pub(crate) fn read(path: &Path) -> Self {
        let mut lines = Self::default();
        let text = fs::read_to_string(path).unwrap_or_default();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            lines.ids.push(value["id"].as_str().unwrap().to_owned());
            match value["kind"].as_str() {
                Some("flow") => lines.flows.push(flow(&value)),
                Some("gap") => lines.gaps.push(gap(&value)),
                kind => panic!("of kind {kind:?}: {line}"),
            }
        }
        lines
    }

    /// How many connections ended.
    pub(crate) fn closed(&self) -> usize {
        self.flows.iter().filter(|flow| flow.is_closed).count()
    }

    pub(crate) fn reasons(&self) -> Vec<&str> {
        self.gaps.iter().map(|gap| gap.reason.as_str()).collect()
    }
}

fn flow(value: &Value) -> Flow {
    let (original, connection) = (&value["original"], &value["connection"]);
    let number = |name: &str| original[name].as_u64();
    let ports = match number("icmpId") {
        Some(id) => (id, number("icmpType").unwrap() << 8 | number("icmpCode").unwrap()),
        None => (number("srcPort").unwrap(), number("dstPort").unwrap()),
    };
    let name = Name {
        start: connection["start"].as_str().map(nanoseconds),
        id: connection["id"].as_u64().unwrap(),
        protocol: value["protocol"].as_u64().unwrap(),
        src: original["src"].as_str().unwrap().parse().unwrap(),
        dst: original["dst"].as_str().unwrap().parse().unwrap(),
        ports,
    };
    Flow {
        name,
        generation: connection["generation"].as_u64(),
        netns: value["netns"].as_u64().unwrap(),
        delta: counts(&value["delta"]),
        total: counts(&value["total"]),
        is_closed: value["closed"].as_bool().unwrap(),
    }
}

fn gap(value: &Value) -> Gap {
    let time = |name: &str| nanoseconds(value[name].as_str().unwrap());
    let reason = value["reason"].as_str().unwrap().to_owned();
    Gap { reason, lost: value["lost"].as_u64(), from: time("from"), to: time("to") }
}

fn counts(value: &Value) -> Option<Counts> {
    let names = ["originalPackets", "originalBytes", "replyPackets", "replyBytes"];
    (!value.is_null()).then(|| names.map(|name| value[name].as_u64().unwrap()))
}

fn nanoseconds(text: &str) -> i128 {
    assert_eq!(text.len(), "2026-01-01T00:00:00.000000000Z".len(), "{text}");
    text.parse::<Timestamp>().unwrap().as_nanosecond()
}

pub(crate) fn now() -> i128 {
    Timestamp::now().as_nanosecond()
}
