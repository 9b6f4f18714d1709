//! Writes JSON straight into a buffer: a frame is made without a tree of values.

use std::fmt::Display;
use std::io::Write as _;

/// An object being written: commas are its business.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// Writes one object, with the fields that `fields` adds.
pub(crate) fn object(out: &mut Vec<u8>, fields: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fields(&mut Object { out, empty: true });
    out.push(b'}');
}

/// Writes `value` as a JSON string.
pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    if value.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, value).expect("a string is written to memory without fail");
    }
}

impl Object<'_> {
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        text(self.key(key), value);
    }

    /// A string made from a value whose text needs no escapes: a number, a time, an address.
    pub(crate) fn quoted(&mut self, key: &str, value: impl Display) {
        write!(self.key(key), "\"{value}\"").expect("memory takes every write");
    }

    /// A value whose text is JSON as it stands: a number, `true`, `null`.
    pub(crate) fn bare(&mut self, key: &str, value: impl Display) {
        write!(self.key(key), "{value}").expect("memory takes every write");
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, key: &str, json: &[u8]) {
        self.key(key).extend_from_slice(json);
    }

    /// Fields that are JSON already: `"a":1,"b":2`.
    pub(crate) fn raw_fields(&mut self, json: &[u8]) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.extend_from_slice(json);
    }

    pub(crate) fn object(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        object(self.key(key), fields);
    }

    pub(crate) fn array<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Vec<u8>, T),
    ) {
        let out = self.key(key);
        out.push(b'[');
        for (i, value) in items.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            item(out, value);
        }
        out.push(b']');
    }

    /// A string to string object, left out when empty.
    pub(crate) fn map<'m>(&mut self, key: &str, pairs: impl IntoIterator<Item = (&'m String, &'m String)>) {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_some() {
            self.object(key, |o| pairs.for_each(|(k, v)| o.entry(k, v)));
        }
    }

    fn entry(&mut self, key: &str, value: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        text(self.out, key);
        self.out.push(b':');
        text(self.out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_a_parser_reads_back() {
        let mut out = Vec::new();
        let hostile = [("qu\"ote".to_owned(), "line\nfeed \\ ü \u{0}".to_owned())];
        object(&mut out, |o| {
            o.text("a", "tab\t");
            o.quoted("b", 7);
            o.bare("c", true);
            o.raw_fields(br#""d":1,"e":2"#);
            o.map("none", []);
            o.map("f", hostile.iter().map(|(k, v)| (k, v)));
            o.array("g", ["x", "y"], text);
            o.object("h", |_| {});
        });
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let want = serde_json::json!({"a": "tab\t", "b": "7", "c": true, "d": 1, "e": 2,
            "f": {"qu\"ote": "line\nfeed \\ ü \u{0}"}, "g": ["x", "y"], "h": {}});
        assert_eq!(read, want);
    }
}
