//! What outboxes do, for Prometheus.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::{Error, Observer, Rejection};

type Labels = [(&'static str, String); 1];

/// How far each sink is behind, and what became of its records, by the label `sink`.
#[derive(Clone, Debug, Default)]
pub struct OutboxMetrics {
    lag: Family<Labels, Gauge>,
    delivered: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    dead_letters: Family<Labels, Counter>,
}

impl OutboxMetrics {
    /// Registers `delivered`, `delivery_retries` and `dead_letters`, and under the name `lag`, which `help` explains, how many
    /// rows of its source a sink has not got yet.
    pub fn register(&self, registry: &mut Registry, lag: &str, help: &str) {
        registry.register(lag, help, self.lag.clone());
        registry.register("delivered", "Records that a sink has got", self.delivered.clone());
        registry.register("delivery_retries", "Deliveries that failed and were tried again", self.retries.clone());
        registry.register("dead_letters", "Records that a sink refused", self.dead_letters.clone());
    }

    /// What the outbox of `sink` reports to.
    pub fn sink(&self, sink: &str) -> impl Observer + use<> {
        let labels = [("sink", sink.to_owned())];
        Sink {
            lag: self.lag.get_or_create_owned(&labels),
            delivered: self.delivered.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            dead_letters: self.dead_letters.get_or_create_owned(&labels),
        }
    }
}

struct Sink {
    lag: Gauge,
    delivered: Counter,
    retries: Counter,
    dead_letters: Counter,
}

impl Observer for Sink {
    fn delivered(&self, records: usize, _bytes: usize) {
        self.delivered.inc_by(records as u64);
    }

    fn retried(&self, _error: &Error, _wait: Duration) {
        self.retries.inc();
    }

    fn rejected(&self, _rejection: &Rejection) {
        self.dead_letters.inc();
    }

    fn lag(&self, rows: u64) {
        self.lag.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use podtrail_event::EventId;
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn each_sink_has_its_own_numbers() {
        let (mut registry, metrics) = (Registry::default(), OutboxMetrics::default());
        metrics.register(&mut registry, "behind", "Rows to come");
        let sink = metrics.sink("a");
        sink.delivered(3, 100);
        sink.retried(&Error::fatal("x", "y"), Duration::ZERO);
        sink.rejected(&Rejection { id: EventId::derive(&[]), reason: String::new() });
        sink.lag(u64::MAX);
        metrics.sink("b").lag(7);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "# HELP behind Rows to come.\n",
            "behind{sink=\"a\"} 9223372036854775807\n",
            "behind{sink=\"b\"} 7\n",
            "delivered_total{sink=\"a\"} 3\n",
            "delivery_retries_total{sink=\"a\"} 1\n",
            "dead_letters_total{sink=\"a\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
