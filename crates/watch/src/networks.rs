//! The `network-status` annotation: what a pod holds on secondary networks.

use podtrail_event::{Address, Timestamp};
use serde::Deserialize;

use crate::address;
use crate::decode::Str;
use crate::delta::Report;

/// The annotation's key, and the key that it had before its standard was settled.
pub(crate) const KEYS: [&str; 2] = ["k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status"];

const MOST_ENTRIES: usize = 64;
const MOST_ADDRESSES: usize = 64;
const DEEPEST: usize = 8;

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    name: Option<Str<'a>>,
    #[serde(borrow)]
    interface: Option<Str<'a>>,
    #[serde(borrow)]
    ips: Option<Vec<Str<'a>>>,
    default: Option<bool>,
}

/// Adds the addresses of the annotation's secondary networks to `addresses`; reports what cannot be used.
pub(crate) fn collect(text: &str, namespace: &str, addresses: &mut Vec<Address>, report: &mut Report<'_>) {
    if depth(text) > DEEPEST {
        return report.add("network status: nested more than 8 deep", text);
    }
    let entries: Vec<Entry<'_>> = match serde_json::from_str(text) {
        Ok(entries) => entries,
        Err(_) => return report.add("network status: not a list of networks", text),
    };
    if entries.len() > MOST_ENTRIES {
        report.add("network status: more than 64 networks", text);
    }
    for entry in entries.into_iter().take(MOST_ENTRIES).filter(|entry| entry.default != Some(true)) {
        let name = entry.name.as_ref().map_or("", |name| &name.0);
        let Some(network) = network(name, namespace) else {
            report.add("network status: not the name of a network", name);
            continue;
        };
        if let Some(interface) = entry.interface.filter(|interface| !is_interface(&interface.0)) {
            report.add("network status: not the name of a secondary interface", &interface.0);
            continue;
        }
        for ip in entry.ips.iter().flatten() {
            match address::parse(&ip.0) {
                Ok(_) if addresses.len() >= MOST_ADDRESSES => {
                    report.add("network status: more than 64 addresses", &ip.0)
                }
                Ok(parsed) => {
                    let address = Address { network: network.clone(), ip: parsed };
                    if addresses.contains(&address) {
                        report.add("network status: an address that is listed twice", &ip.0);
                    } else {
                        addresses.push(address);
                    }
                }
                Err(why) => report.add(&format!("network status: {why}"), &ip.0),
            }
        }
    }
}

/// `namespace/name`, if that is what the name of an entry says.
fn network(name: &str, namespace: &str) -> Option<String> {
    let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
    (is_label(namespace) && is_label(name)).then(|| format!("{namespace}/{name}"))
}

/// `[a-z0-9]([-a-z0-9.]*[a-z0-9])?`, without empty parts between dots.
fn is_label(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'-' | b'.'))
        && !text.contains("..")
}

/// Whether the kernel would take it for an interface that is not the pod's own.
fn is_interface(name: &str) -> bool {
    name.len() <= 15
        && !matches!(name, "." | ".." | "eth0" | "lo")
        && !name.bytes().any(|b| matches!(b, b'/' | b':') || b.is_ascii_whitespace() || b.is_ascii_control())
}

/// How deep a JSON text nests.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for b in text.bytes() {
        if in_string {
            (in_string, escaped) = (escaped || b != b'"', !escaped && b == b'\\');
            continue;
        }
        match b {
            b'"' => in_string = true,
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads the annotation by itself; for fuzzing.
#[doc(hidden)]
pub fn network_status(text: &str) -> (Vec<Address>, Vec<crate::Rejected>) {
    let (mut addresses, mut rejected) = (Vec::new(), Vec::new());
    collect(text, "default", &mut addresses, &mut Report::new(String::new(), Timestamp::from_second(0), &mut rejected));
    (addresses, rejected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Which addresses are used, and how many faults are reported.
    #[track_caller]
    fn check(text: &str, used: &[&str], faults: usize) {
        let (addresses, rejected) = network_status(text);
        let shown: Vec<_> = addresses.iter().map(|a| format!("{} {}", a.network, a.ip)).collect();
        assert_eq!(shown, used, "{text}");
        assert_eq!(rejected.len(), faults, "{text}: {rejected:?}");
    }

    #[test]
    fn secondary_networks_are_read_and_the_default_is_skipped() {
        check(
            r#"[{"name":"kindnet","interface":"eth0","ips":["10.244.0.17"],"mac":"aa","default":true,"dns":{}},
                {"name":"team-a/storage","interface":"net1","ips":["192.168.7.4","fd07::4"],"dns":{"nameservers":[]}},
                {"name":"macvlan","ips":["192.168.8.4"]},{"name":"team-a/no-ips","interface":"net2"}]"#,
            &["team-a/storage 192.168.7.4", "team-a/storage fd07::4", "default/macvlan 192.168.8.4"],
            0,
        );
        check("[]", &[], 0);
    }

    #[test]
    fn bad_entries_are_reported_and_the_others_used() {
        let good = r#"{"name":"n","interface":"net1","ips":["192.0.2.1"]}"#;
        for bad in [
            r#"{"interface":"net1","ips":["192.0.2.2"]}"#,
            r#"{"name":"","ips":["192.0.2.2"]}"#,
            r#"{"name":"../etc","ips":["192.0.2.2"]}"#,
            r#"{"name":"a/b/c","ips":["192.0.2.2"]}"#,
            r#"{"name":"a..b","ips":["192.0.2.2"]}"#,
            r#"{"name":"Upper","ips":["192.0.2.2"]}"#,
            r#"{"name":"-a","ips":["192.0.2.2"]}"#,
            r#"{"name":"a","interface":"eth0","ips":["192.0.2.2"]}"#,
            r#"{"name":"a","interface":"a/b","ips":["192.0.2.2"]}"#,
            r#"{"name":"a","interface":"..","ips":["192.0.2.2"]}"#,
            r#"{"name":"a","interface":"sixteencharacter","ips":["192.0.2.2"]}"#,
            r#"{"name":"a","ips":["999.1.1.1"]}"#,
            r#"{"name":"a","ips":["fe80::1%eth0"]}"#,
            r#"{"name":"a","ips":["::1"]}"#,
            r#"{"name":"a","ips":["224.0.0.1"]}"#,
            r#"{"name":"a","ips":["::ffff:10.0.0.1"]}"#,
            r#"{"name":"n","ips":["192.0.2.1"]}"#,
        ] {
            check(&format!("[{good},{bad}]"), &["default/n 192.0.2.1"], 1);
        }
    }

    #[test]
    fn what_is_no_list_is_reported_whole() {
        let deep = format!(r#"[{{"name":"n","ips":["192.0.2.1"],"x":{}1{}}}]"#, "[".repeat(7), "]".repeat(7));
        for text in ["", "nonsense", "{}", "null", r#"[{"name":7}]"#, "[[", deep.as_str()] {
            check(text, &[], 1);
        }
    }

    #[test]
    fn entries_beyond_the_bound_are_left_out() {
        let entries: Vec<_> = (0..70).map(|n| format!(r#"{{"name":"n{n}","ips":["192.0.2.{n}"]}}"#)).collect();
        let (addresses, rejected) = network_status(&format!("[{}]", entries.join(",")));
        assert_eq!((addresses.len(), rejected.len()), (64, 1));
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_bounded(text in r#"[\[\]{}",:\\a-z0-9.]{0,200}"#) {
            let (addresses, rejected) = network_status(&text);
            prop_assert!(addresses.len() <= 64 && rejected.len() <= 64);
        }
    }
}
