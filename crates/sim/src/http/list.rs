use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;

use super::query::Query;
use super::status::Status;
use super::{injected, json_response};
use crate::cluster::Cluster;
use crate::fault::{Fault, Verb};
use crate::history::{Entry, Resource};
use crate::json;
use crate::snapshots::Snapshot;

/// About how many bytes of a list are made at a time, so that a list costs no second copy of the cluster.
const PIECE: usize = 256 << 10;

/// Answers a list, or a further page of one.
pub(super) fn answer(cluster: &Cluster, resource: Resource, query: &Query) -> Result<Response, Status> {
    let pods = resource == Resource::Pods;
    if pods {
        let further = query.token.is_some();
        cluster.0.traffic.count(|requests| if further { &mut requests.page } else { &mut requests.list });
        injected(cluster, Verb::List)?;
    }
    let (snapshot, start) = match &query.token {
        Some(token) => resume(cluster, pods, token)?,
        None => (begin(cluster, resource, query)?, 0),
    };
    let rest = snapshot.items.len() - start;
    let mut size = rest;
    if let Some(limit) = query.limit {
        size = size.min(limit).min(cluster.0.config.max_page.max(1));
        if pods && let Some(most) = short_page(cluster) {
            size = size.min(most.max(1));
        }
    }
    let end = start + size;
    let token = (size < rest).then(|| cluster.0.snapshots.token(&snapshot, end));
    let remaining = (!query.selector.selects()).then_some(rest - size);
    let head = head(resource, snapshot.version, token.map(|token| (token, remaining)));
    Ok(respond(head, &snapshot.items, start..end))
}

fn begin(cluster: &Cluster, resource: Resource, query: &Query) -> Result<Arc<Snapshot>, Status> {
    let state = cluster.lock();
    let version = state.history.version();
    if query.version > version {
        let message = format!("Too large resource version: {}, current: {version}", query.version);
        return Err(Status::new(504, message));
    }
    let items = state.history.list(resource, &query.selector);
    Ok(Arc::new(Snapshot { version, items }))
}

fn resume(cluster: &Cluster, pods: bool, token: &str) -> Result<(Arc<Snapshot>, usize), Status> {
    let expired = || Status::new(410, "The provided continue parameter is too old to display a consistent list result");
    if pods && cluster.faults().take(|fault| *fault == Fault::ExpiredPage).is_some() {
        return Err(expired());
    }
    let (snapshot, start) = cluster.0.snapshots.resume(token).ok_or_else(expired)?;
    if snapshot.version < cluster.lock().history.compacted() {
        return Err(expired());
    }
    Ok((snapshot, start))
}

fn short_page(cluster: &Cluster) -> Option<usize> {
    match cluster.faults().take(|fault| matches!(fault, Fault::ShortPage(_))) {
        Some(Fault::ShortPage(most)) => Some(most),
        _ => None,
    }
}

/// The list up to its first item. `more` is the token of the next page and, if known, how many items it leads to.
fn head(resource: Resource, version: u64, more: Option<(String, Option<usize>)>) -> Vec<u8> {
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.text("kind", &format!("{}List", resource.kind()));
        o.text("apiVersion", "v1");
        o.object("metadata", |m| {
            m.quoted("resourceVersion", version);
            if let Some((token, remaining)) = more {
                m.text("continue", &token);
                if let Some(remaining) = remaining {
                    m.bare("remainingItemCount", remaining);
                }
            }
        });
        o.raw("items", b"[");
    });
    // The items and the closing brackets follow.
    out.pop();
    out
}

fn respond(head: Vec<u8>, items: &[Arc<Entry>], range: Range<usize>) -> Response {
    let items: Vec<_> = items[range].to_vec();
    let commas = items.len().saturating_sub(1);
    let length = head.len() + items.iter().map(|item| item.item_length()).sum::<usize>() + commas + b"]}".len();
    let mut pieces = Some((head, items.into_iter().peekable()));
    let body = stream::iter(std::iter::from_fn(move || {
        let (mut out, mut items) = pieces.take()?;
        while let Some(item) = items.next() {
            item.write_item(&mut out);
            if items.peek().is_some() {
                out.push(b',');
                if out.len() >= PIECE {
                    pieces = Some((Vec::with_capacity(PIECE + (PIECE >> 3)), items));
                    return Some(Ok::<_, std::convert::Infallible>(Bytes::from(out)));
                }
            }
        }
        out.extend_from_slice(b"]}");
        Some(Ok(Bytes::from(out)))
    }));
    let mut response = json_response(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}
