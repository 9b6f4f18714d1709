use std::collections::HashSet;

use bytes::Bytes;
use podtrail_event::EventId;

use super::{Guarantee, Harness};
use crate::{Batch, Committed, Error, Item, Writer};

/// A stream of records as an outbox would deliver it, and what must have arrived.
struct Stream<H: Harness> {
    check: &'static str,
    harness: H,
    writer: H::Writer,
    resume: Option<String>,
    seq: u64,
    expected: Vec<Bytes>,
}

impl<H: Harness> Stream<H> {
    async fn new(check: &'static str, mut harness: H) -> Self {
        let writer = harness.open().await;
        Self { check, harness, writer, resume: None, seq: 0, expected: Vec::new() }
    }

    async fn restart(&mut self) {
        self.writer = self.harness.open().await;
    }

    /// The next `count` records.
    fn next(&self, count: u64) -> Vec<Item> {
        (1..=count).map(|n| item(&format!(r#"{{"v":1,"seq":{},"check":"{}"}}"#, self.seq + n, self.check))).collect()
    }

    async fn try_deliver(&mut self, items: &[Item]) -> Result<Committed, Error> {
        let last = self.seq + (items.len() as u64).max(1);
        let batch = Batch { first: self.seq + 1, last, items, resume: self.resume.as_deref() };
        self.writer.deliver(&batch).await
    }

    /// Delivers and does not keep the token, as a caller that crashes then.
    async fn deliver(&mut self, items: &[Item]) -> Committed {
        self.try_deliver(items).await.unwrap_or_else(|error| {
            panic!("{}: {error}: {:?}", self.check, std::error::Error::source(&error));
        })
    }

    /// Delivers and keeps the token.
    async fn commit(&mut self, items: &[Item]) {
        self.resume = self.deliver(items).await.resume;
        self.seq += (items.len() as u64).max(1);
        self.expected.extend(items.iter().map(|item| item.line.clone()));
    }

    async fn verify(mut self) {
        let mut delivered = self.harness.delivered().await;
        if self.harness.guarantee() == Guarantee::AtLeastOnce {
            let mut seen = HashSet::new();
            delivered.retain(|line| seen.insert(line.clone()));
        }
        if delivered == self.expected {
            return;
        }
        let at = delivered.iter().zip(&self.expected).take_while(|(a, b)| a == b).count();
        let (is, should) = (delivered.get(at), self.expected.get(at));
        let (lines, of) = (delivered.len(), self.expected.len());
        panic!("{}: {lines} lines of {of}; line {at} is {is:?} and should be {should:?}", self.check);
    }
}

fn item(line: &str) -> Item {
    Item { id: EventId::derive(&[line.as_bytes()]), line: Bytes::copy_from_slice(line.as_bytes()) }
}

pub(super) async fn many_batches_arrive_in_order<H: Harness>(harness: H) {
    let mut stream = Stream::new("many batches arrive in order", harness).await;
    for count in (1..=7).cycle().take(60) {
        stream.commit(&stream.next(count)).await;
    }
    stream.verify().await;
}

pub(super) async fn an_empty_batch_changes_nothing<H: Harness>(harness: H) {
    let mut stream = Stream::new("an empty batch changes nothing", harness).await;
    for count in [0, 2, 0, 0, 1] {
        stream.commit(&stream.next(count)).await;
    }
    stream.restart().await;
    for count in [0, 1] {
        stream.commit(&stream.next(count)).await;
    }
    stream.verify().await;
}

pub(super) async fn lines_arrive_unchanged<H: Harness>(harness: H) {
    let mut stream = Stream::new("lines arrive unchanged", harness).await;
    let texts = [
        String::new(),
        "Ελληνικά, 日本語, 🧭, e\u{301}".to_owned(),
        r#"\u0000 \u001f \n \r\n \t \" \\ \u2028"#.to_owned(),
        "\u{2028}\u{85}\u{7f}".to_owned(),
        "'; DROP TABLE events; --".to_owned(),
        "x".repeat(1 << 20),
    ];
    let lines = texts.iter().enumerate().map(|(n, text)| item(&format!(r#"{{"v":1,"n":{n},"text":"{text}"}}"#)));
    let items: Vec<_> = lines.collect();
    stream.commit(&items).await;
    for item in &items {
        let again = Item { id: EventId::derive(&[b"again", item.id.as_bytes()]), ..item.clone() };
        let line = String::from_utf8_lossy(&again.line).replace(r#""v":1"#, r#""v":1,"again":true"#);
        stream.commit(&[Item { line: line.into(), ..again }]).await;
    }
    stream.verify().await;
}

pub(super) async fn a_restart_goes_on<H: Harness>(harness: H) {
    let mut stream = Stream::new("a restart goes on", harness).await;
    for count in [3, 1, 0, 2, 5] {
        stream.commit(&stream.next(count)).await;
        stream.restart().await;
    }
    stream.verify().await;
}

pub(super) async fn a_batch_delivered_again_is_there_once<H: Harness>(harness: H) {
    let mut stream = Stream::new("a batch delivered again is there once", harness).await;
    for count in [1, 4, 2] {
        let items = stream.next(count);
        let first = stream.deliver(&items).await;
        stream.deliver(&items).await;
        let third = stream.deliver(&items).await;
        assert_eq!(first.resume.is_some(), third.resume.is_some(), "{}: tokens come and go", stream.check);
        stream.commit(&items).await;
    }
    stream.verify().await;
}

pub(super) async fn a_batch_delivered_again_after_a_restart_is_there_once<H: Harness>(harness: H) {
    let mut stream = Stream::new("a batch delivered again after a restart is there once", harness).await;
    for count in [1, 4, 2] {
        let items = stream.next(count);
        stream.deliver(&items).await;
        stream.restart().await;
        stream.deliver(&items).await;
        stream.restart().await;
        stream.commit(&items).await;
    }
    stream.restart().await;
    stream.commit(&stream.next(1)).await;
    stream.verify().await;
}

pub(super) async fn a_torn_batch_is_completed<H, F, Fut>(make: &F)
where
    H: Harness,
    F: Fn() -> Fut,
    Fut: Future<Output = H>,
{
    for before in [0, 2] {
        let length = |items: &[Item]| items.iter().map(|item| item.line.len() + 1).sum::<usize>();
        for share in 0..=8 {
            let mut stream = Stream::new("a torn batch is completed", make().await).await;
            if before > 0 {
                stream.commit(&stream.next(before)).await;
            }
            let items = stream.next(3);
            stream.deliver(&items).await;
            // Eighths fall within lines, thirds at their ends.
            let torn = if share == 8 { length(&items[..1]) } else { length(&items) * share / 7 };
            if !stream.harness.tear(torn).await {
                return;
            }
            stream.restart().await;
            stream.commit(&items).await;
            stream.commit(&stream.next(1)).await;
            stream.verify().await;
        }
    }
}

pub(super) async fn an_outage_is_a_retry_and_loses_nothing<H: Harness>(harness: H) {
    let mut stream = Stream::new("an outage is a retry and loses nothing", harness).await;
    stream.commit(&stream.next(2)).await;
    for restart in [false, true] {
        let items = stream.next(3);
        if !stream.harness.outage(true).await {
            return;
        }
        for _ in 0..3 {
            let error = match stream.try_deliver(&items).await {
                Ok(committed) => panic!("{}: {committed:?} during an outage", stream.check),
                Err(error) => error,
            };
            assert!(error.is_retryable(), "{}: {error:?}", stream.check);
        }
        stream.harness.outage(false).await;
        if restart {
            stream.restart().await;
        }
        stream.commit(&items).await;
    }
    stream.verify().await;
}
