use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;

use super::status::Status;
use crate::history::Resource;
use crate::selector::Selector;

/// What a list or watch asks for.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) selector: Selector,
    pub(super) watch: bool,
    /// `resourceVersion`, 0 when not given: both mean "from any version".
    pub(super) version: u64,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<Duration>,
    /// `sendInitialEvents`, if given.
    pub(super) initial: Option<bool>,
    pub(super) not_older_than: bool,
    pub(super) limit: Option<usize>,
    pub(super) token: Option<String>,
}

impl Query {
    pub(super) fn parse(resource: Resource, namespace: Option<String>, uri: &Uri) -> Result<Self, Status> {
        let values: axum::extract::Query<HashMap<String, String>> =
            axum::extract::Query::try_from_uri(uri).map_err(|e| Status::new(400, e.to_string()))?;
        let value = |name: &str| values.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let selector = Selector::within(namespace)
            .fields(resource, value("fieldSelector").unwrap_or_default())
            .and_then(|selector| selector.labels(value("labelSelector").unwrap_or_default()))
            .map_err(|reason| Status::new(400, reason))?;
        Ok(Self {
            selector,
            watch: flag("watch", value("watch"))?.unwrap_or(false),
            version: number("resourceVersion", value("resourceVersion"))?.unwrap_or(0),
            bookmarks: flag("allowWatchBookmarks", value("allowWatchBookmarks"))?.unwrap_or(false),
            timeout: number("timeoutSeconds", value("timeoutSeconds"))?.filter(|s| *s > 0).map(Duration::from_secs),
            initial: flag("sendInitialEvents", value("sendInitialEvents"))?,
            not_older_than: value("resourceVersionMatch") == Some("NotOlderThan"),
            limit: number("limit", value("limit"))?.filter(|limit| *limit > 0),
            token: value("continue").map(str::to_owned),
        })
    }
}

fn flag(name: &str, value: Option<&str>) -> Result<Option<bool>, Status> {
    match value {
        None => Ok(None),
        Some("1" | "true") => Ok(Some(true)),
        Some("0" | "false") => Ok(Some(false)),
        Some(other) => Err(invalid(name, other)),
    }
}

fn number<N: FromStr>(name: &str, value: Option<&str>) -> Result<Option<N>, Status> {
    value.map(|text| text.parse().ok().ok_or_else(|| invalid(name, text))).transpose()
}

fn invalid(name: &str, value: &str) -> Status {
    Status::new(400, format!("invalid value of {name}: {value:?}"))
}
