//! Metrics: what a database has counted, as of one moment, with names and labels that others' tools understand.

use serde::Serialize;

use super::{CacheCounts, Counts, Histogram, ProgramCounts, StatementKind};

/// What a database tells of itself at one moment. Displays as the text exposition format of Prometheus, version 0.0.4.
///
/// ```
/// use bygone::Db;
/// let db = Db::in_memory()?;
/// db.query("EMIT Order.created 42 {total: 10}")?;
/// let metrics = db.metrics()?;
/// assert_eq!(metrics.value("bygone_events_total"), Some(1.0));
/// assert!(metrics.to_string().contains("\nbygone_head_position 1\n"));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics(Vec<Metric>);

/// One metric: its name, what it tells, and its values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Metric {
    /// `bygone_…`, with a base unit.
    pub name: &'static str,
    /// What it tells, in one line.
    pub help: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// One for each set of labels.
    pub samples: Vec<MetricSample>,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows, and begins anew when the database is opened.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, by how long they are.
    Histogram,
}

impl MetricKind {
    /// Its word in the exposition.
    pub fn word(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// A value, with what tells it from others of the same metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricSample {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: MetricValue,
}

/// What a metric comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum MetricValue {
    /// A whole number.
    Count(u64),
    /// Any other number.
    Number(f64),
    /// Of a histogram.
    Histogram {
        /// Upper bounds in seconds, the last of which is infinite, and how many are no longer than each.
        buckets: Vec<(f64, u64)>,
        /// All of them together, in seconds.
        sum: f64,
    },
}

impl MetricValue {
    /// As a number: of a histogram, how many there were.
    pub fn as_f64(&self) -> f64 {
        match self {
            MetricValue::Count(count) => *count as f64,
            MetricValue::Number(number) => *number,
            MetricValue::Histogram { buckets, .. } => buckets.last().map_or(0.0, |(_, count)| *count as f64),
        }
    }
}

/// What a database is at one moment: what nobody counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    pub head: u64,
    pub synced: u64,
    pub checkpoint: u64,
    pub file_bytes: u64,
    pub journal_bytes: u64,
    pub memtable_events: u64,
    pub memtable_bytes: u64,
    pub queue_bytes: u64,
    pub definitions: u64,
    /// Kind, name and lag of what goes along the log.
    pub followers: Vec<(&'static str, String, u64)>,
}

impl Metrics {
    pub(crate) fn new(counts: &Counts, gauges: &Gauges) -> Metrics {
        let mut metrics = Metrics(Vec::new());
        metrics.add_process(counts);
        metrics.add_log(counts, gauges);
        metrics.add_statements(counts);
        metrics.add_storage(counts, gauges);
        metrics.add_followers(counts, gauges);
        metrics
    }

    /// All of them, in the order of the exposition.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.0.iter()
    }

    /// One of them, by its name.
    pub fn get(&self, name: &str) -> Option<&Metric> {
        self.0.iter().find(|metric| metric.name == name)
    }

    /// What a metric comes to, over all of its labels; of a histogram, how many there were.
    pub fn value(&self, name: &str) -> Option<f64> {
        let samples = self.get(name)?.samples.iter();
        Some(samples.map(|sample| sample.value.as_f64()).sum())
    }

    fn add(
        &mut self,
        kind: MetricKind,
        (name, help): (&'static str, &'static str),
        samples: Vec<MetricSample>,
    ) {
        self.0.push(Metric { name, help, kind, samples });
    }

    fn counter(&mut self, named: (&'static str, &'static str), count: u64) {
        self.add(MetricKind::Counter, named, vec![plain(MetricValue::Count(count))]);
    }

    fn gauge(&mut self, named: (&'static str, &'static str), count: u64) {
        self.add(MetricKind::Gauge, named, vec![plain(MetricValue::Count(count))]);
    }

    fn labelled<L: Into<String>>(
        &mut self,
        named: (&'static str, &'static str),
        label: &'static str,
        counts: impl IntoIterator<Item = (L, u64)>,
    ) {
        let sample = |(value, count): (L, u64)| MetricSample {
            labels: vec![(label, value.into())],
            value: MetricValue::Count(count),
        };
        self.add(MetricKind::Counter, named, counts.into_iter().map(sample).collect());
    }

    fn add_process(&mut self, counts: &Counts) {
        let version = MetricSample {
            labels: vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
            value: MetricValue::Count(1),
        };
        self.add(MetricKind::Gauge, ("bygone_build_info", "The version of Bygone; always 1."), vec![version]);
        let opened = plain(MetricValue::Number(counts.opened.as_millis() as f64 / 1000.0));
        let named = ("bygone_start_time_seconds", "When the database was opened, since 1970.");
        self.add(MetricKind::Gauge, named, vec![opened]);
    }

    fn add_log(&mut self, counts: &Counts, gauges: &Gauges) {
        let commits = &counts.commits;
        let outcomes = [
            ("recorded", &commits.recorded),
            ("repeated", &commits.repeated),
            ("refused", &commits.refused),
            ("failed", &commits.failed),
        ];
        self.labelled(
            ("bygone_appends_total", "Groups of events that came to a commit, by what became of them."),
            "outcome",
            outcomes.map(|(outcome, count)| (outcome, count.get())),
        );
        self.counter(("bygone_events_total", "Events that were recorded."), commits.events.get());
        self.counter(
            (
                "bygone_schema_warnings_total",
                "Events that were recorded though they do not fit a schema that only warns.",
            ),
            commits.unfit.get(),
        );
        self.counter(("bygone_commits_total", "Frames that were written to the log."), commits.frames.get());
        self.counter(
            ("bygone_commit_bytes_total", "Bytes of the events in those frames."),
            commits.bytes.get(),
        );
        self.histogram(
            ("bygone_sync_duration_seconds", "How long it took to make the log durable."),
            &commits.syncs,
        );
        self.counter(
            ("bygone_sync_errors_total", "How often the log could not be made durable."),
            commits.failed_syncs.get(),
        );
        self.histogram(
            ("bygone_checkpoint_duration_seconds", "How long it took to move a memtable into the tables."),
            &counts.checkpoints,
        );
        self.counter(
            ("bygone_checkpoint_errors_total", "Checkpoints that failed, and are tried again."),
            counts.failed_checkpoints.get(),
        );
        self.gauge(("bygone_head_position", "The newest position."), gauges.head);
        self.gauge(("bygone_synced_position", "The newest position that is durable."), gauges.synced);
        self.gauge(
            ("bygone_checkpoint_position", "The newest position that is in the tables."),
            gauges.checkpoint,
        );
    }

    fn add_statements(&mut self, counts: &Counts) {
        // Those that nobody ran would be most of the text.
        let ran = StatementKind::ALL.map(|(kind, word)| (word, counts.statements(kind)));
        let ran: Vec<_> = ran.into_iter().filter(|(_, times)| times.count() > 0).collect();
        self.labelled(
            ("bygone_statements_total", "Statements that were run, by their first word."),
            "kind",
            ran.iter().map(|(word, times)| (*word, times.count())),
        );
        let sample = |(word, times): (&'static str, &Histogram)| MetricSample {
            labels: vec![("kind", word.to_owned())],
            value: durations(times),
        };
        self.add(
            MetricKind::Histogram,
            (
                "bygone_statement_duration_seconds",
                "How long statements took until their last row was pulled.",
            ),
            ran.into_iter().map(sample).collect(),
        );
        self.labelled(
            ("bygone_statement_errors_total", "Statements that ended with an error, by its kind."),
            "error",
            counts.statement_errors(),
        );
    }

    fn add_storage(&mut self, counts: &Counts, gauges: &Gauges) {
        self.gauge(("bygone_file_bytes", "The size of the file."), gauges.file_bytes);
        self.gauge(("bygone_journal_bytes", "The size of the journal beside it."), gauges.journal_bytes);
        self.gauge(
            ("bygone_memtable_events", "Events that are not in the tables yet."),
            gauges.memtable_events,
        );
        self.gauge(("bygone_memtable_bytes", "The memory that they take."), gauges.memtable_bytes);
        self.gauge(("bygone_queue_bytes", "Bytes that wait to be committed."), gauges.queue_bytes);
        self.gauge(("bygone_definitions", "Definitions that are in force."), gauges.definitions);
        let caches = [
            ("statement", &counts.statement_cache),
            ("state", &counts.state_cache),
            ("view", &counts.view_cache),
            ("aggregate", &counts.aggregate_cache),
        ];
        let of = |count: fn(&CacheCounts) -> u64| caches.map(|(name, cache)| (name, count(cache)));
        self.labelled(
            ("bygone_cache_hits_total", "How often something was found in a cache."),
            "cache",
            of(|cache| cache.hits.get()),
        );
        self.labelled(
            ("bygone_cache_misses_total", "How often it was not."),
            "cache",
            of(|cache| cache.misses.get()),
        );
    }

    fn add_followers(&mut self, counts: &Counts, gauges: &Gauges) {
        let (subscribed, open, slowest) = counts.subscriptions();
        self.counter(("bygone_subscriptions_total", "Subscriptions that were opened."), subscribed);
        self.gauge(("bygone_subscriptions_open", "Subscriptions that are open."), open as u64);
        let lag = slowest.map_or(0, |slowest| gauges.synced.saturating_sub(slowest.0));
        self.gauge(("bygone_subscription_lag_events", "How far the slowest of them is behind."), lag);
        let of = |count: fn(&ProgramCounts) -> u64| {
            ProgramCounts::KINDS.map(|kind| (kind, count(counts.program(kind))))
        };
        for (name, help, count) in [
            (
                "bygone_program_done_total",
                "What reactions, webhooks and schedules have done.",
                of(|count| count.done.get()),
            ),
            ("bygone_program_failures_total", "Tries of theirs that failed.", of(|count| count.failed.get())),
            (
                "bygone_program_retries_total",
                "Tries of theirs after the first.",
                of(|count| count.retries.get()),
            ),
            (
                "bygone_program_set_aside_total",
                "What they set aside after the last try.",
                of(|count| count.set_aside.get()),
            ),
        ] {
            self.labelled((name, help), "kind", count);
        }
        let lag = |(kind, name, lag): &(&'static str, String, u64)| MetricSample {
            labels: vec![("kind", (*kind).to_owned()), ("name", name.clone())],
            value: MetricValue::Count(*lag),
        };
        self.add(
            MetricKind::Gauge,
            (
                "bygone_follower_lag_events",
                "Events behind the place of each reaction, webhook and named subscription.",
            ),
            gauges.followers.iter().map(lag).collect(),
        );
    }

    fn histogram(&mut self, named: (&'static str, &'static str), times: &Histogram) {
        self.add(MetricKind::Histogram, named, vec![plain(durations(times))]);
    }
}

fn plain(value: MetricValue) -> MetricSample {
    MetricSample { labels: Vec::new(), value }
}

fn durations(times: &Histogram) -> MetricValue {
    // Read once, so that the count is that of the last bucket.
    MetricValue::Histogram { buckets: times.cumulative(), sum: times.seconds() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_say_their_unit_and_what_only_grows_says_total() {
        let metrics = Metrics::new(&Counts::default(), &Gauges::default());
        let mut names = BTreeSet::new();
        for metric in metrics.iter() {
            let Metric { name, help, kind, .. } = metric;
            assert!(names.insert(name), "{name} is there twice");
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.starts_with("bygone_") && name.chars().all(is_name), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == MetricKind::Counter, "{name}");
            assert!(*kind != MetricKind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        }
        assert!(names.len() > 30, "{names:?}");
    }
}
