//! Metrics as text, in the exposition format of Prometheus, version 0.0.4: for each a line `# HELP`, a line `# TYPE`, and its values.

use std::fmt;

use super::metrics::{Metric, MetricSample, MetricValue, Metrics};

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|metric| write_metric(f, metric))
    }
}

fn write_metric(f: &mut fmt::Formatter<'_>, metric: &Metric) -> fmt::Result {
    let Metric { name, help, kind, samples, .. } = metric;
    writeln!(f, "# HELP {name} {}", Escaped { text: help, quotes: false })?;
    writeln!(f, "# TYPE {name} {}", kind.word())?;
    samples.iter().try_for_each(|sample| write_sample(f, name, sample))
}

fn write_sample(f: &mut fmt::Formatter<'_>, name: &str, sample: &MetricSample) -> fmt::Result {
    let labels = &sample.labels;
    match &sample.value {
        MetricValue::Count(count) => writeln!(f, "{name}{} {count}", Labels(labels, None)),
        MetricValue::Number(number) => writeln!(f, "{name}{} {}", Labels(labels, None), Number(*number)),
        MetricValue::Histogram { buckets, sum } => {
            for (bound, count) in buckets {
                writeln!(f, "{name}_bucket{} {count}", Labels(labels, Some(*bound)))?;
            }
            writeln!(f, "{name}_sum{} {}", Labels(labels, None), Number(*sum))?;
            let count = buckets.last().map_or(0, |(_, count)| *count);
            writeln!(f, "{name}_count{} {count}", Labels(labels, None))
        }
    }
}

/// Labels in braces; of a bucket with its bound.
struct Labels<'l>(&'l [(&'static str, String)], Option<f64>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Labels(labels, bound) = self;
        let mut before = "{";
        for (name, value) in *labels {
            write!(f, "{before}{name}=\"{}\"", Escaped { text: value, quotes: true })?;
            before = ",";
        }
        if let Some(bound) = bound {
            write!(f, "{before}le=\"{}\"", Number(*bound))?;
            before = ",";
        }
        if before == "," { f.write_str("}") } else { Ok(()) }
    }
}

/// A number, as Go's `ParseFloat` reads it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == f64::INFINITY { f.write_str("+Inf") } else { fmt::Display::fmt(&self.0, f) }
    }
}

/// A text on one line: backslashes and line feeds, and where it stands in quotes those, are escaped.
struct Escaped<'t> {
    text: &'t str,
    quotes: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Gauges;
    use super::super::{Counts, StatementKind};
    use super::*;
    use std::time::Duration;

    #[test]
    fn histograms_and_labels_are_written_as_the_format_says() {
        let counts = Counts::default();
        counts.statements(StatementKind::Emit).observe(Duration::from_millis(2));
        let followers = vec![("reaction", "a \"b\"\\\nc".to_owned(), 7)];
        let text = Metrics::new(&counts, &Gauges { followers, ..Gauges::default() }).to_string();
        for line in [
            "# TYPE bygone_statement_duration_seconds histogram",
            "bygone_statement_duration_seconds_bucket{kind=\"emit\",le=\"0.001\"} 0",
            "bygone_statement_duration_seconds_bucket{kind=\"emit\",le=\"0.0025\"} 1",
            "bygone_statement_duration_seconds_bucket{kind=\"emit\",le=\"+Inf\"} 1",
            "bygone_statement_duration_seconds_sum{kind=\"emit\"} 0.002",
            "bygone_statement_duration_seconds_count{kind=\"emit\"} 1",
            "bygone_sync_duration_seconds_bucket{le=\"0.00001\"} 0",
            "bygone_sync_duration_seconds_count 0",
            "bygone_follower_lag_events{kind=\"reaction\",name=\"a \\\"b\\\"\\\\\\nc\"} 7",
            "# HELP bygone_events_total Events that were recorded.",
            "bygone_events_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with('\n'));
    }
}
