//! Metrics as they are made: registered, described, and listed for documents and the name lint.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

/// What is to be known about a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels, in order.
    pub labels: Vec<String>,
    /// One sentence.
    pub help: String,
}

/// Makes metrics and remembers what it made.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) registry: Registry,
    pub(super) made: Vec<MetricInfo>,
}

/// Seconds, from a commit on a fast disk to a mail server that thinks.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Seconds from an event to its alert: dominated by batching upstream, so up to hours.
const LATENCY_SECONDS: [f64; 13] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0];

impl Builder {
    fn add<C: Collector + Clone + 'static>(
        &mut self,
        made: prometheus::Result<C>,
        kind: &'static str,
        (name, labels, help): (&str, &[&str], &str),
    ) -> C {
        let metric = made.expect("names and labels of our own metrics are valid");
        self.registry.register(Box::new(metric.clone())).expect("each name is made once");
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.made.push(MetricInfo { name: name.to_owned(), kind, labels, help: help.to_owned() });
        metric
    }

    pub(super) fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help), "counter", (name, &[], help))
    }

    pub(super) fn counters(&mut self, name: &str, labels: &[&str], help: &str) -> IntCounterVec {
        let made = IntCounterVec::new(Opts::new(name, help), labels);
        self.add(made, "counter", (name, labels, help))
    }

    pub(super) fn seconds_counter(&mut self, name: &str, help: &str) -> prometheus::Counter {
        self.add(prometheus::Counter::new(name, help), "counter", (name, &[], help))
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help), "gauge", (name, &[], help))
    }

    pub(super) fn gauges(&mut self, name: &str, labels: &[&str], help: &str) -> IntGaugeVec {
        let made = IntGaugeVec::new(Opts::new(name, help), labels);
        self.add(made, "gauge", (name, labels, help))
    }

    pub(super) fn seconds_gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help), "gauge", (name, &[], help))
    }

    pub(super) fn seconds_gauges(&mut self, name: &str, labels: &[&str], help: &str) -> GaugeVec {
        let made = GaugeVec::new(Opts::new(name, help), labels);
        self.add(made, "gauge", (name, labels, help))
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.add(Histogram::with_opts(options), "histogram", (name, &[], help))
    }

    pub(super) fn latency(&mut self, name: &str, help: &str) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_SECONDS.to_vec());
        self.add(Histogram::with_opts(options), "histogram", (name, &[], help))
    }

    pub(super) fn latencies(&mut self, name: &str, labels: &[&str], help: &str) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_SECONDS.to_vec());
        self.add(HistogramVec::new(options, labels), "histogram", (name, labels, help))
    }
}
