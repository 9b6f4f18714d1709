//! PodTracker's line: twelve keys in a fixed order, as Go's `encoding/json` prints them.

use std::fmt::Write;

use crate::{EventKind, Map, PodEvent, Record};

impl Record {
    /// The record as PodTracker's JSON, without a newline; `None` for what PodTracker has no line for.
    ///
    /// `created` is its `Create`, `deleted` its `Delete`; nothing is cut. `trackedBy` is left out if empty.
    pub fn to_podtracker(&self, tracked_by: &str) -> Option<String> {
        let Self::Pod(event) = self else { return None };
        match event.event {
            EventKind::Created => Some(line(event, "Create", tracked_by)),
            EventKind::Deleted => Some(line(event, "Delete", tracked_by)),
            _ => None,
        }
    }
}

fn line(event: &PodEvent, word: &str, tracked_by: &str) -> String {
    let pod = &event.pod;
    let time = |t: Option<crate::Timestamp>| t.map(crate::Timestamp::to_podtracker).unwrap_or_default();
    let deletion = if event.event == EventKind::Deleted { pod.deletion } else { None };
    let mut out = String::with_capacity(512);
    out.push('{');
    if !tracked_by.is_empty() {
        member(&mut out, "trackedBy", tracked_by);
    }
    member(&mut out, "id", &pod.uid);
    member(&mut out, "event", word);
    member(&mut out, "name", &pod.name);
    member(&mut out, "namespace", &pod.namespace);
    key(&mut out, "labels");
    map(&mut out, pod.labels.as_ref());
    key(&mut out, "annotations");
    map(&mut out, pod.annotations.as_ref());
    member(&mut out, "creationTimestamp", &time(pod.created));
    member(&mut out, "deletionTimestamp", &time(deletion));
    let ip = event.addresses.iter().find(|a| a.network == crate::DEFAULT_NETWORK);
    member(&mut out, "podIP", &ip.map(|a| a.ip.to_string()).unwrap_or_default());
    member(&mut out, "node", pod.node.as_deref().unwrap_or_default());
    key(&mut out, "nodeIPs");
    out.push('{');
    for (kind, addresses) in &event.node_addresses.0 {
        key(&mut out, kind);
        out.push('[');
        for (i, address) in addresses.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            string(&mut out, address);
        }
        out.push(']');
    }
    out.push_str("}}");
    out
}

fn map(out: &mut String, map: Option<&Map>) {
    let Some(map) = map else {
        out.push_str("null");
        return;
    };
    out.push('{');
    for (k, v) in map {
        member(out, k, v);
    }
    out.push('}');
}

fn member(out: &mut String, name: &str, value: &str) {
    key(out, name);
    string(out, value);
}

fn key(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    string(out, name);
    out.push(':');
}

/// A string as Go's encoder writes it with its default HTML escaping.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes every write");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    fn pod_event() -> PodEvent {
        let Record::Pod(event) = sample() else { panic!("a pod event") };
        *event
    }

    fn rendered(event: PodEvent) -> String {
        Record::Pod(Box::new(event)).to_podtracker("podtracker-example").unwrap()
    }

    const HEAD: &str = r#"{"trackedBy":"podtracker-example","id":"7a4f2fa3-9f4c-4d6e-8e0e-3f1b6a0c2d11","#;
    const TAIL: &str = r#""podIP":"10.244.0.17","node":"local-control-plane","nodeIPs":{"Hostname":["local-control-plane"],"InternalIP":["172.18.0.2"]}}"#;

    #[test]
    fn p_c1_and_c9_create_is_byte_identical() {
        let middle = r#""event":"Create","name":"coredns-1","namespace":"kube-system","labels":null,"annotations":{},"creationTimestamp":"2024-01-24T20:44:08+0000","deletionTimestamp":"","#;
        assert_eq!(rendered(pod_event()), format!("{HEAD}{middle}{TAIL}"));
    }

    #[test]
    fn p_c2_delete_is_byte_identical() {
        let mut event = pod_event();
        event.event = EventKind::Deleted;
        event.pod.deletion = Some("2024-01-24T20:48:07Z".parse().unwrap());
        let middle = r#""event":"Delete","name":"coredns-1","namespace":"kube-system","labels":null,"annotations":{},"creationTimestamp":"2024-01-24T20:44:08+0000","deletionTimestamp":"2024-01-24T20:48:07+0000","#;
        assert_eq!(rendered(event), format!("{HEAD}{middle}{TAIL}"));
    }

    #[test]
    fn a_create_seen_late_still_has_no_deletion_time() {
        let mut event = pod_event();
        event.pod.deletion = event.pod.created;
        assert!(rendered(event).contains(r#""deletionTimestamp":"","#));
    }

    #[test]
    fn p_c12_a_node_never_seen_has_no_addresses() {
        let mut event = pod_event();
        event.node_addresses = crate::NodeAddresses::default();
        assert!(rendered(event).ends_with(r#""nodeIPs":{}}"#));
    }

    #[test]
    fn p_c14_two_addresses_of_a_type_keep_their_order() {
        let mut event = pod_event();
        let pairs = [("InternalIP", "172.18.0.2"), ("InternalIP", "fc00::2"), ("InternalIP", "10.0.0.1")];
        event.node_addresses = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        assert!(rendered(event).ends_with(r#""nodeIPs":{"InternalIP":["172.18.0.2","fc00::2","10.0.0.1"]}}"#));
    }

    #[test]
    fn maps_are_sorted_and_escaped_as_go_does() {
        let mut event = pod_event();
        let pairs = [("z", "<&>"), ("a", "\u{2028}\"\\\n\t\r\u{1}\u{8}\u{c}\u{7f}é😀/'")];
        event.pod.labels = Some(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let want =
            "\"labels\":{\"a\":\"\\u2028\\\"\\\\\\n\\t\\r\\u0001\\b\\f\u{7f}é😀/'\",\"z\":\"\\u003c\\u0026\\u003e\"},";
        assert!(rendered(event).contains(want));
    }

    #[test]
    fn an_empty_tracked_by_is_left_out() {
        assert!(sample().to_podtracker("").unwrap().starts_with(r#"{"id":"#));
    }

    #[test]
    fn address_events_and_gaps_have_no_line() {
        let mut event = pod_event();
        event.event = EventKind::AddressAssigned;
        assert_eq!(Record::Pod(Box::new(event)).to_podtracker("x"), None);
    }

    #[test]
    fn nothing_is_cut() {
        let mut event = pod_event();
        event.pod.annotations = Some([("k".to_owned(), "v".repeat(200_000))].into());
        assert!(rendered(event).len() > 200_000);
    }
}
