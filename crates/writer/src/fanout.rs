use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Batch, Committed, Error, Writer};

/// Several writers as one: a batch is committed when each of them has committed it.
///
/// Writers are asked in order, the next only after the one before committed, so the slowest sets the pace; give each
/// its own sink if they are to be independent. A record that one of them rejects is not offered to those after it.
/// Each writer's token is kept by the name given here, so writers can be added, removed and reordered.
#[derive(Default)]
pub struct Fanout {
    writers: Vec<(String, Box<dyn Writer>)>,
    /// What the writers said of the batch in flight.
    done: Done,
}

#[derive(Default)]
struct Done {
    first: u64,
    last: u64,
    base: Option<String>,
    committed: BTreeMap<String, Option<String>>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    v: u8,
    writers: BTreeMap<String, Option<String>>,
}

impl Fanout {
    /// A fan-out to nobody, which commits everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a writer, last in order.
    ///
    /// # Errors
    /// If there is one of this name: they would share a token.
    pub fn with(mut self, name: impl Into<String>, writer: impl Writer + 'static) -> Result<Self, Error> {
        let name = name.into();
        if self.writers.iter().any(|(other, _)| *other == name) {
            return Err(Error::fatal("fan-out", format!("two of its writers are called {name}")));
        }
        self.writers.push((name, Box::new(writer)));
        Ok(self)
    }
}

#[async_trait]
impl Writer for Fanout {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
        let tokens = match batch.resume.map(serde_json::from_str::<Token>).transpose() {
            Ok(token) => token.map(|token| token.writers).unwrap_or_default(),
            Err(error) => {
                return Err(Error::fatal("fan-out", format!("its resume token is not one of its own: {error}")));
            }
        };
        if (self.done.first, self.done.last, self.done.base.as_deref()) != (batch.first, batch.last, batch.resume) {
            let base = batch.resume.map(str::to_owned);
            self.done = Done { first: batch.first, last: batch.last, base, committed: BTreeMap::new() };
        }
        for (name, writer) in &mut self.writers {
            if !self.done.committed.contains_key(name) {
                let resume = tokens.get(name).and_then(Option::as_deref);
                let committed = writer.deliver(&Batch { resume, ..*batch }).await?;
                self.done.committed.insert(name.clone(), committed.resume);
            }
        }
        let token = Token { v: 1, writers: std::mem::take(&mut self.done).committed };
        let resume = serde_json::to_string(&token).expect("a map of strings has a JSON form");
        Ok(Committed { resume: Some(resume) })
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.writers.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use podtrail_event::EventId;

    use super::*;
    use crate::{Item, Rejection};

    type Calls = Arc<Mutex<Vec<String>>>;

    /// Fails so many times as scripted, and notes who was asked with which token.
    struct Member(&'static str, Vec<Error>, Calls);

    #[async_trait]
    impl Writer for Member {
        async fn deliver(&mut self, batch: &Batch<'_>) -> Result<Committed, Error> {
            let note = format!("{} {}-{} {} {:?}", self.0, batch.first, batch.last, batch.items.len(), batch.resume);
            self.2.lock().unwrap().push(note);
            match self.1.pop() {
                Some(error) => Err(error),
                None => Ok(Committed { resume: Some(format!("{}{}", self.0, batch.last)) }),
            }
        }
    }

    fn items(count: u8) -> Vec<Item> {
        (0..count).map(|n| Item { id: EventId::derive(&[&[n]]), line: "{}".into() }).collect()
    }

    #[tokio::test]
    async fn a_batch_is_committed_when_all_have_it_and_nobody_is_asked_twice() {
        let calls = Calls::default();
        let reject = Rejection { id: items(1)[0].id, reason: String::new() };
        let trouble = vec![Error::rejected("b", vec![reject]), Error::retry("b", "busy")];
        let mut fanout = Fanout::new()
            .with("a", Member("a", vec![], Arc::clone(&calls)))
            .and_then(|fanout| fanout.with("b", Member("b", trouble, Arc::clone(&calls))))
            .and_then(|fanout| fanout.with("c", Member("c", vec![], Arc::clone(&calls))))
            .unwrap();
        let all = items(3);
        let batch = Batch { first: 1, last: 3, items: &all, resume: None };
        assert!(fanout.deliver(&batch).await.unwrap_err().is_retryable());
        fanout.deliver(&batch).await.unwrap_err();
        let committed = fanout.deliver(&Batch { items: &all[1..], ..batch }).await.unwrap();
        let next = Batch { first: 4, last: 4, items: &all[..1], resume: committed.resume.as_deref() };
        fanout.deliver(&next).await.unwrap();
        let expected = [
            "a 1-3 3 None",
            "b 1-3 3 None",
            "b 1-3 3 None",
            "b 1-3 2 None",
            "c 1-3 2 None",
            r#"a 4-4 1 Some("a3")"#,
            r#"b 4-4 1 Some("b3")"#,
            r#"c 4-4 1 Some("c3")"#,
        ];
        assert_eq!(*calls.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn tokens_follow_names_when_writers_come_and_go() {
        let calls = Calls::default();
        let member = |name| Member(name, vec![], Arc::clone(&calls));
        let items = items(1);
        let batch = Batch { first: 1, last: 1, items: &items, resume: None };
        let of = |a, b| Fanout::new().with(a, member(a)).and_then(|fanout| fanout.with(b, member(b)));
        let token = of("a", "b").unwrap().deliver(&batch).await.unwrap().resume;
        let batch = Batch { first: 2, last: 2, resume: token.as_deref(), ..batch };
        of("new", "b").unwrap().deliver(&batch).await.unwrap();
        assert!(of("a", "a").is_err(), "two of one name");
        assert_eq!(calls.lock().unwrap()[2..], ["new 2-2 1 None", r#"b 2-2 1 Some("b1")"#]);
    }

    #[tokio::test]
    async fn a_token_of_another_kind_of_writer_is_refused() {
        let batch = Batch { first: 1, last: 1, items: &[], resume: Some("epoch 7") };
        let error = Fanout::new().deliver(&batch).await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
    }
}
