//! What faults do to a frame.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::status::Status;
use super::watch::Step;
use crate::fault::Fault;
use crate::history::Entry;

/// More than the largest object that an API server takes.
const OVERSIZE: usize = (2 << 20) + (64 << 10);

/// What is sent in place of `frame`, which takes the client from version `told` to `version`. After an end or a break nothing else is
/// sent.
pub(super) fn apply(
    fault: Fault,
    frame: Vec<u8>,
    told: u64,
    version: u64,
    older: impl FnOnce() -> Option<Arc<Entry>>,
) -> Vec<Step> {
    let whole = |frame: Vec<u8>| Step::Send(frame.into(), version);
    let other = |bytes: Vec<u8>| Step::Send(bytes.into(), told);
    match fault {
        Fault::Cut => {
            let half = frame[..frame.len() / 2].to_vec();
            vec![other(half), Step::Flush, Step::Break]
        }
        Fault::End => vec![Step::End],
        Fault::Garbage => vec![other(b"{\"type\":\"ADDED\",\"object\":{\"metadata\":\0\n".to_vec()), Step::End],
        Fault::ErrorFrame => vec![other(Status::injected(500, None).frame()), Step::End],
        Fault::Split(size) => split(&frame.into(), size.max(1), told, version),
        Fault::Delay(by) => vec![Step::Wait { until: Instant::now() + by, bookmarks: true }, whole(frame)],
        Fault::Stall(by) => vec![Step::Wait { until: Instant::now() + by, bookmarks: false }, whole(frame)],
        Fault::Duplicate => vec![other(frame.clone()), whole(frame)],
        Fault::Replay => {
            let old = older().map_or_else(|| frame.clone(), |entry| entry.frame().to_vec());
            vec![other(old), whole(frame)]
        }
        Fault::Oversize => vec![whole(inflate(&frame))],
        Fault::OtherKind => vec![other(service(told)), whole(frame)],
        Fault::UnknownType => vec![other(renamed(&frame)), whole(frame)],
        // These are no faults of a frame and are never taken for one.
        Fault::DropDeleted(_)
        | Fault::DropModified(_)
        | Fault::Status { .. }
        | Fault::ExpiredPage
        | Fault::ShortPage(_)
        | Fault::GoneInStream => vec![whole(frame)],
    }
}

fn split(frame: &Bytes, size: usize, told: u64, version: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for start in (0..frame.len()).step_by(size) {
        let end = frame.len().min(start + size);
        steps.push(Step::Send(frame.slice(start..end), if end == frame.len() { version } else { told }));
        steps.push(Step::Flush);
    }
    steps
}

/// The frame with so much in its `managedFields` that no API server would have taken the object.
fn inflate(frame: &[u8]) -> Vec<u8> {
    const METADATA: &[u8] = br#""metadata":{"#;
    const FIELDS: &[u8] = br#""managedFields":["#;
    let entry = format!(
        r#"{{"manager":"padding","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{"f:{}":{{}}}}}}"#,
        "x".repeat(OVERSIZE)
    );
    let after = |needle: &[u8]| frame.windows(needle.len()).position(|w| w == needle).map(|at| at + needle.len());
    let (at, head, tail): (_, &[u8], &[u8]) = match (after(FIELDS), after(METADATA)) {
        (Some(at), _) => (at, b"", b","),
        (None, Some(at)) => (at, FIELDS, b"],"),
        (None, None) => return frame.to_vec(),
    };
    [&frame[..at], head, entry.as_bytes(), tail, &frame[at..]].concat()
}

/// A frame that does not belong into a watch of pods. Its version is one that the client knows, so that believing it loses nothing.
fn service(version: u64) -> Vec<u8> {
    format!(
        concat!(
            r#"{{"type":"MODIFIED","object":{{"kind":"Service","apiVersion":"v1","metadata":{{"name":"stray","namespace":"default","#,
            r#""uid":"00000000-0000-4000-a000-000000000000","resourceVersion":"{}","creationTimestamp":"2026-01-01T00:00:00Z"}},"#,
            r#""spec":{{"clusterIP":"10.96.0.10"}},"status":{{"loadBalancer":{{}}}}}}}}"#,
            "\n"
        ),
        version
    )
    .into_bytes()
}

/// The frame with a type that no API server sends.
fn renamed(frame: &[u8]) -> Vec<u8> {
    const TYPE: &[u8] = br#"{"type":""#;
    let rest = frame[TYPE.len()..].iter().position(|b| *b == b'"').map_or(&frame[..0], |at| &frame[TYPE.len() + at..]);
    [TYPE, b"RENAMED", rest].concat()
}
