//! Borrowed decoding of what an API server sends: one pass, only the members that are used.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};

/// One line of a watch. `L` is [`PodLite`](crate::PodLite) or [`NodeLite`](crate::NodeLite).
#[derive(Debug)]
#[non_exhaustive]
pub enum Frame<L> {
    /// The object is new, or listed by a streaming list.
    Added(L),
    /// The object has changed.
    Modified(L),
    /// The object is gone; this is its last state.
    Deleted(L),
    /// All changes up to this version have been sent.
    Bookmark {
        /// The version.
        resource_version: u64,
        /// Whether it ends the listing of a streaming list.
        initial_events_end: bool,
    },
    /// The server cannot go on.
    Error(Failure),
}

/// What an API server says of a failure: its `Status` object.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Failure {
    /// The HTTP status that it amounts to, or 0.
    pub code: u16,
    /// A word for machines, such as `Expired`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// Whether the version that was asked for is too old.
    pub fn is_expired(&self) -> bool {
        self.code == 410 || matches!(self.reason.as_str(), "Expired" | "Gone")
    }
}

/// What one object of a kind is decoded as.
pub(crate) trait Lite<'a>: Deserialize<'a> {
    const KIND: &'static str;
    fn kind(&self) -> Option<&Str<'a>>;
    fn metadata(&self) -> Option<&Metadata<'a>>;
}

/// A string that borrows from the input where it needs no unescaping. (serde borrows a bare `Cow`, but none in an
/// `Option` or a `Vec`.)
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Str<'_> {
    pub(crate) fn owned(&self) -> String {
        self.0.as_ref().to_owned()
    }
}

/// The members of a JSON object of strings, in their order.
#[derive(Debug)]
pub(crate) struct Pairs<'a>(pub(crate) Vec<(Str<'a>, Str<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
            type Value = Pairs<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<'a>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata<'a> {
    #[serde(borrow)]
    pub(crate) uid: Option<Str<'a>>,
    #[serde(borrow)]
    pub(crate) namespace: Option<Str<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Str<'a>>,
    #[serde(borrow)]
    pub(crate) resource_version: Option<Str<'a>>,
    #[serde(borrow)]
    pub(crate) creation_timestamp: Option<Str<'a>>,
    #[serde(borrow)]
    pub(crate) deletion_timestamp: Option<Str<'a>>,
    pub(crate) deletion_grace_period_seconds: Option<i64>,
    #[serde(borrow)]
    pub(crate) labels: Option<Pairs<'a>>,
    #[serde(borrow)]
    pub(crate) annotations: Option<Pairs<'a>>,
    #[serde(borrow)]
    pub(crate) owner_references: Option<Vec<OwnerReference<'a>>>,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct OwnerReference<'a> {
    #[serde(borrow)]
    pub(crate) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Str<'a>>,
    pub(crate) controller: Option<bool>,
}

impl Metadata<'_> {
    /// A member that no object is without, and that is not empty.
    pub(crate) fn required<'m>(&'m self, member: &str, value: &'m Option<Str<'_>>) -> Result<&'m str, Error> {
        match value {
            Some(value) if !value.0.is_empty() => Ok(&value.0),
            _ => Err(Error::new(ErrorKind::Unusable, format_args!("no metadata.{member}"))),
        }
    }

    pub(crate) fn version(&self) -> Result<u64, Error> {
        version(self.required("resourceVersion", &self.resource_version)?)
    }
}

/// A resourceVersion as the number that it is.
pub(crate) fn version(text: &str) -> Result<u64, Error> {
    // `parse` alone would take a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| Error::new(ErrorKind::Unusable, "a resourceVersion that is no number"))
}

#[derive(serde::Deserialize)]
struct Envelope<'a, O> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
    object: O,
}

/// Decodes one line of a watch.
pub(crate) fn frame<'a, L: Lite<'a>>(line: &'a [u8]) -> Result<Frame<L>, Error> {
    let envelope: Envelope<'a, L> = match serde_json::from_slice(line) {
        Ok(envelope) => envelope,
        // An ERROR's object is a Status, some of whose members have other types than an object's.
        Err(error) => {
            return match serde_json::from_slice(line) {
                Ok(Envelope { kind, object }) if kind.0 == "ERROR" => failure(object),
                _ => Err(Error::caused(ErrorKind::Decode, "not a watch event", error)),
            };
        }
    };
    match &*envelope.kind.0 {
        "ADDED" => of_kind(envelope.object).map(Frame::Added),
        "MODIFIED" => of_kind(envelope.object).map(Frame::Modified),
        "DELETED" => of_kind(envelope.object).map(Frame::Deleted),
        "BOOKMARK" => bookmark(&of_kind(envelope.object)?),
        "ERROR" => {
            let Envelope { object, .. } =
                serde_json::from_slice(line).map_err(|e| Error::caused(ErrorKind::Decode, "not a watch event", e))?;
            failure(object)
        }
        other => Err(Error::new(ErrorKind::Unusable, format_args!("unknown type of event {:?}", short(other)))),
    }
}

/// Decodes one object by itself, as `GET` and lists give it.
pub(crate) fn object<'a, L: Lite<'a>>(json: &'a [u8]) -> Result<L, Error> {
    let what = |e| Error::caused(ErrorKind::Decode, format_args!("not a {}", L::KIND), e);
    of_kind(serde_json::from_slice(json).map_err(what)?)
}

fn of_kind<'a, L: Lite<'a>>(object: L) -> Result<L, Error> {
    // Items of a list do not state their kind.
    match object.kind() {
        Some(kind) if kind.0 != L::KIND => {
            Err(Error::new(ErrorKind::Unusable, format_args!("a {:?} where a {} should be", short(&kind.0), L::KIND)))
        }
        _ => Ok(object),
    }
}

fn bookmark<'a, L: Lite<'a>>(object: &L) -> Result<Frame<L>, Error> {
    let none = Metadata::default();
    let metadata = object.metadata().unwrap_or(&none);
    let ends = |(key, value): &(Str<'_>, Str<'_>)| key.0 == "k8s.io/initial-events-end" && value.0 == "true";
    let initial_events_end = metadata.annotations.as_ref().is_some_and(|a| a.0.iter().any(ends));
    Ok(Frame::Bookmark { resource_version: metadata.version()?, initial_events_end })
}

fn failure<L>(object: &RawValue) -> Result<Frame<L>, Error> {
    serde_json::from_str(object.get())
        .map(Frame::Error)
        .map_err(|e| Error::caused(ErrorKind::Decode, "not a Status", e))
}

/// One page of a list, its items not yet decoded.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Page<'a> {
    #[serde(borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    metadata: PageMetadata<'a>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, serde::Deserialize)]
struct PageMetadata<'a> {
    #[serde(rename = "resourceVersion", borrow)]
    resource_version: Str<'a>,
    #[serde(rename = "continue", borrow)]
    more: Option<Str<'a>>,
}

impl<'a> Page<'a> {
    pub(crate) fn decode(body: &'a [u8], list_kind: &str) -> Result<Self, Error> {
        let page: Self = serde_json::from_slice(body)
            .map_err(|e| Error::caused(ErrorKind::Decode, format_args!("not a {list_kind}"), e))?;
        match &page.kind {
            Some(kind) if kind.0 != list_kind => Err(Error::new(
                ErrorKind::Unusable,
                format_args!("a {:?} where a {list_kind} should be", short(&kind.0)),
            )),
            _ => Ok(page),
        }
    }

    pub(crate) fn version(&self) -> Result<u64, Error> {
        version(&self.metadata.resource_version.0)
    }

    /// The token to ask for the next page with; none on the last.
    pub(crate) fn more(&self) -> Option<String> {
        self.metadata.more.as_ref().filter(|token| !token.0.is_empty()).map(Str::owned)
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &'a RawValue> {
        self.items.iter().flatten().copied()
    }
}

/// Whose object this is, where an object that cannot be decoded still says so: `namespace/name` or `name`.
pub(crate) fn key_of_object(json: &[u8]) -> Option<String> {
    serde_json::from_slice::<Probe<'_>>(json).ok()?.key()
}

/// The same of a line of a watch.
pub(crate) fn key_of_frame(line: &[u8]) -> Option<String> {
    serde_json::from_slice::<ProbeFrame<'_>>(line).ok()?.object?.key()
}

#[derive(serde::Deserialize)]
struct ProbeFrame<'a> {
    #[serde(borrow)]
    object: Option<Probe<'a>>,
}

#[derive(serde::Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    metadata: Option<ProbeMetadata<'a>>,
}

#[derive(serde::Deserialize)]
struct ProbeMetadata<'a> {
    #[serde(borrow)]
    namespace: Option<Str<'a>>,
    #[serde(borrow)]
    name: Option<Str<'a>>,
}

impl Probe<'_> {
    fn key(&self) -> Option<String> {
        let metadata = self.metadata.as_ref()?;
        let name = &metadata.name.as_ref()?.0;
        Some(match &metadata.namespace {
            Some(namespace) => format!("{}/{name}", namespace.0),
            None => name.to_string(),
        })
    }
}

/// The start of a word from outside that goes into a message.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}
