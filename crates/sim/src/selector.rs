use std::collections::BTreeMap;

use crate::history::{Entry, Resource};

/// An object's labels.
pub(crate) type Labels = BTreeMap<String, String>;

/// Which objects a list or watch is about.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    pub(crate) namespace: Option<String>,
    name: Option<String>,
    node: Option<String>,
    labels: Vec<(String, String)>,
}

impl Selector {
    pub(crate) fn within(namespace: Option<String>) -> Self {
        Self { namespace, ..Self::default() }
    }

    /// Adds a `fieldSelector`: equality of `metadata.name`, and for pods of `spec.nodeName`.
    pub(crate) fn fields(mut self, resource: Resource, text: &str) -> Result<Self, String> {
        for term in terms(text) {
            let (field, value) = equality(term)?;
            match field {
                "metadata.name" => self.name = Some(value.to_owned()),
                "spec.nodeName" if resource == Resource::Pods => self.node = Some(value.to_owned()),
                _ => return Err(format!("field label not supported: {field}")),
            }
        }
        Ok(self)
    }

    /// Adds a `labelSelector` of equalities.
    pub(crate) fn labels(mut self, text: &str) -> Result<Self, String> {
        for term in terms(text) {
            let (key, value) = equality(term)?;
            self.labels.push((key.to_owned(), value.to_owned()));
        }
        Ok(self)
    }

    /// Whether anything but a namespace selects.
    pub(crate) fn selects(&self) -> bool {
        self.name.is_some() || self.node.is_some() || !self.labels.is_empty()
    }

    /// Whether it takes this object, were its labels `labels`.
    pub(crate) fn takes(&self, entry: &Entry, labels: &Labels) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|w| Some(w) == value);
        is(&self.namespace, entry.namespace.as_deref())
            && is(&self.name, Some(&entry.name))
            && is(&self.node, entry.node.as_deref())
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

fn terms(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|term| !term.is_empty())
}

fn equality(term: &str) -> Result<(&str, &str), String> {
    let unsupported = || format!("unable to parse requirement: {term:?}: only equality is supported");
    let (key, value) = term.split_once('=').ok_or_else(unsupported)?;
    let value = value.strip_prefix('=').unwrap_or(value);
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if key.is_empty() || !key.chars().all(known) || !value.chars().all(known) {
        return Err(unsupported());
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equality_of_known_fields_is_parsed() {
        let fields = |text| Selector::default().fields(Resource::Pods, text).is_ok();
        let labels = |text| Selector::default().labels(text).is_ok();
        for good in ["", "spec.nodeName=n1", "metadata.name==p", "metadata.name=p,spec.nodeName=n"] {
            assert!(fields(good), "{good}");
        }
        for bad in ["spec.nodeName", "spec.nodeName!=n1", "status.phase=Running", "=x"] {
            assert!(!fields(bad), "{bad}");
        }
        assert!(Selector::default().fields(Resource::Nodes, "spec.nodeName=n").is_err());
        for good in ["a=b", "a=b,c==d", "example.com/a=", "a=b,"] {
            assert!(labels(good), "{good}");
        }
        for bad in ["a", "!a", "a!=b", "a in (b,c)", "a notin (b)"] {
            assert!(!labels(bad), "{bad}");
        }
    }
}
