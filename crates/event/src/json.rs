//! Our own JSON: one object a record, `"v":1`, see the crate's front page.

use serde::{Deserialize, Serialize};

use crate::record::{GapEvent, PodEvent};
use crate::{Error, Map, Record};

/// Labels and annotations beyond this many bytes together are cut, and the record says so.
const METADATA_LIMIT: usize = 64 * 1024;
/// Longest text that is read back.
const LINE_LIMIT: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
struct Line<'a, T> {
    v: u8,
    #[serde(rename = "trackedBy", skip_serializing_if = "Option::is_none")]
    tracked_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    #[serde(flatten)]
    record: &'a T,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Record {
    /// The record as one line of our own JSON, without a newline.
    ///
    /// Labels and annotations that are over 64 KiB together are cut, the largest values first, and `"truncated":true` says so.
    #[expect(clippy::missing_panics_doc, reason = "a record's maps have text keys: it always serialises")]
    pub fn to_json(&self, tracked_by: Option<&str>) -> String {
        let text = match self {
            Self::Pod(event) if metadata_size(event) > METADATA_LIMIT => {
                let mut event = event.clone();
                truncate(&mut event);
                serde_json::to_string(&Line { v: 1, tracked_by, event: None, record: &event, truncated: true })
            }
            Self::Pod(event) => {
                serde_json::to_string(&Line { v: 1, tracked_by, event: None, record: event, truncated: false })
            }
            Self::Gap(event) => {
                serde_json::to_string(&Line { v: 1, tracked_by, event: Some("gap"), record: event, truncated: false })
            }
        };
        text.expect("records are maps with text keys, which serialise")
    }

    /// Reads back a line of [`to_json`](Self::to_json).
    ///
    /// # Errors
    /// If `line` is over 4 MiB, no JSON, of another version, or lacks what a record has.
    pub fn from_json(line: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head<'a> {
            v: u64,
            #[serde(borrow)]
            event: std::borrow::Cow<'a, str>,
        }
        let fail = |e: serde_json::Error| Error::new("record", line, e);
        if line.len() > LINE_LIMIT {
            return Err(Error::new("record", line, "longer than 4 MiB"));
        }
        let head: Head<'_> = serde_json::from_str(line).map_err(fail)?;
        if head.v != 1 {
            return Err(Error::new("record", line, format!("version {} is not 1", head.v)));
        }
        if head.event == "gap" {
            return serde_json::from_str::<GapEvent>(line).map(Self::Gap).map_err(fail);
        }
        serde_json::from_str::<PodEvent>(line).map(|e| Self::Pod(Box::new(e))).map_err(fail)
    }
}

fn maps(event: &PodEvent) -> impl Iterator<Item = &Map> {
    [&event.pod.labels, &event.pod.annotations].into_iter().flatten()
}

fn metadata_size(event: &PodEvent) -> usize {
    maps(event).flatten().map(|(k, v)| k.len() + v.len()).sum()
}

/// Cuts the largest values, then drops entries from the end, until the rest fits.
fn truncate(event: &mut PodEvent) {
    let mut over = metadata_size(event).saturating_sub(METADATA_LIMIT);
    let pod = &mut event.pod;
    let mut values: Vec<&mut String> =
        [&mut pod.annotations, &mut pod.labels].into_iter().flatten().flat_map(|map| map.values_mut()).collect();
    values.sort_by_key(|v| std::cmp::Reverse(v.len()));
    for value in values {
        let mut keep = value.len().saturating_sub(over);
        while !value.is_char_boundary(keep) {
            keep -= 1;
        }
        over -= over.min(value.len() - keep);
        value.truncate(keep);
        if over == 0 {
            return;
        }
    }
    for map in [&mut pod.annotations, &mut pod.labels].into_iter().flatten() {
        while over > 0
            && let Some((key, _)) = map.pop_last()
        {
            over -= over.min(key.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;
    use crate::{Cluster, Gap, Timestamp};

    #[test]
    fn is_versioned_and_reads_back() {
        let record = sample();
        let line = record.to_json(None);
        assert!(line.starts_with(r#"{"v":1,"id":""#), "{line}");
        assert_eq!(Record::from_json(&line).unwrap(), record);
        assert!(record.to_json(Some("x")).starts_with(r#"{"v":1,"trackedBy":"x","id":"#));
    }

    #[test]
    fn a_gap_is_an_event_too() {
        let gap = Gap {
            source: "pods".into(),
            from: Timestamp::from_second(1),
            to: Timestamp::from_second(2),
            reason: "history was compacted".into(),
        };
        let id = Gap::id_of("c", "pods", "7");
        let record = Record::Gap(GapEvent { id, cluster: Cluster::new("c"), gap });
        let line = record.to_json(None);
        assert_eq!(
            line,
            format!(
                r#"{{"v":1,"event":"gap","id":"{id}","cluster":{{"uid":"c"}},"source":"pods","from":"1970-01-01T00:00:01Z","to":"1970-01-01T00:00:02Z","reason":"history was compacted"}}"#
            )
        );
        assert_eq!(Record::from_json(&line).unwrap(), record);
    }

    #[test]
    fn large_metadata_is_cut_and_says_so() {
        let Record::Pod(mut event) = sample() else { panic!("a pod event") };
        event.pod.annotations =
            Some([("big".to_owned(), "é".repeat(60_000)), ("small".to_owned(), "kept".to_owned())].into());
        let line = Record::Pod(event).to_json(None);
        assert!(line.ends_with(r#","truncated":true}"#));
        let Record::Pod(cut) = Record::from_json(&line).unwrap() else { panic!("a pod event") };
        let annotations = cut.pod.annotations.as_ref().unwrap();
        assert_eq!(annotations["small"], "kept");
        assert!(metadata_size(&cut) <= METADATA_LIMIT && annotations["big"].len() > 60_000);
    }

    #[test]
    fn many_large_keys_are_cut_too() {
        let Record::Pod(mut event) = sample() else { panic!("a pod event") };
        event.pod.labels = Some((0..1000).map(|i| (format!("{i:0200}"), "v".to_owned())).collect());
        let Record::Pod(cut) = Record::from_json(&Record::Pod(event).to_json(None)).unwrap() else {
            panic!("a pod event")
        };
        assert!(metadata_size(&cut) <= METADATA_LIMIT);
    }

    #[test]
    fn refuses_what_is_no_record() {
        for line in
            ["", "{}", "null", r#"{"v":2,"event":"gap"}"#, r#"{"v":1,"event":"gap"}"#, r#"{"v":1,"event":"exploded"}"#]
        {
            assert!(Record::from_json(line).is_err(), "{line}");
        }
    }
}
