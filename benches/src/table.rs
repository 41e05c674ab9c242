//! What was measured, as a table of medians and ratios.

use std::time::Duration;

/// One turn of one contestant.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Events a second, until all was done.
    pub rate: f64,
    /// Events a second, until the last was acknowledged.
    pub running: f64,
    pub median: Duration,
    pub slow: Duration,
}

pub struct Table {
    title: String,
    rows: Vec<(String, Vec<Measured>)>,
}

impl Table {
    pub fn new<'n>(title: &str, names: impl Iterator<Item = &'n str>) -> Table {
        Table { title: title.to_owned(), rows: names.map(|name| (name.to_owned(), Vec::new())).collect() }
    }

    pub fn add(&mut self, row: usize, measured: Measured) {
        self.rows[row].1.push(measured);
    }

    /// Prints it, with ratios to `base`, and whether `ours` reaches the target.
    pub fn print(&self, ours: &str, base: &str, target: f64) {
        let base = self.base(base);
        self.print_rows("events/s", base);
        if let (Some((name, ours)), Some((other, base))) = (self.base(ours), base) {
            let ratio = ratio(ours, base);
            let verdict = if ratio >= target { "pass" } else { "FAIL" };
            println!("{verdict}: {name} is to be {target:.1}× as fast as {other}, and is {ratio:.2}×");
        }
    }

    /// Prints it, with ratios to `base`: nothing was promised.
    pub fn print_reads(&self, base: &str) {
        self.print_rows("a second", self.base(base));
    }

    /// How many times as long a turn of one row takes as one of another, by the medians within a turn.
    pub fn times(&self, row: usize, base: usize) -> f64 {
        let turns = self.rows[row].1.iter().zip(&self.rows[base].1);
        median(turns.map(|(turn, base)| turn.median.as_secs_f64() / base.median.as_secs_f64()))
    }

    /// Of a row, the median of its turns.
    pub fn rate(&self, row: usize) -> f64 {
        rate(&self.rows[row].1)
    }

    /// The best of those whose names begin so, and who are as they come.
    fn base(&self, name: &str) -> Option<&(String, Vec<Measured>)> {
        let named = |row: &&(String, Vec<Measured>)| row.0.starts_with(name) && !row.0.contains("by hand");
        self.rows.iter().filter(named).max_by(|a, b| rate(&a.1).total_cmp(&rate(&b.1)))
    }

    fn print_rows(&self, unit: &str, base: Option<&(String, Vec<Measured>)>) {
        println!("\n{}\n", self.title);
        println!(
            "| {:<28} | {:>10} | {:>7} | {:>6} | {:>10} | {:>8} | {:>8} |",
            "", unit, "ratio", "noise", "until ack", "p50 µs", "p99 µs"
        );
        println!("|{:-<30}|{:->12}|{:->9}|{:->8}|{:->12}|{:->10}|{:->10}|", "", ":", ":", ":", ":", ":", ":");
        for (name, turns) in &self.rows {
            let ratio = base.map_or(f64::NAN, |(_, base)| ratio(turns, base));
            println!(
                "| {:<28} | {:>10.0} | {:>6.2}× | {:>5.0}% | {:>10.0} | {:>8} | {:>8} |",
                name,
                rate(turns),
                ratio,
                100.0 * noise(turns),
                median(turns.iter().map(|turn| turn.running)),
                median(turns.iter().map(|turn| turn.median.as_micros() as f64)),
                median(turns.iter().map(|turn| turn.slow.as_micros() as f64)),
            );
        }
        println!();
    }
}

fn rate(turns: &[Measured]) -> f64 {
    median(turns.iter().map(|turn| turn.rate))
}

/// The median of the ratios within each round: what slows a round down slows both.
fn ratio(turns: &[Measured], base: &[Measured]) -> f64 {
    median(turns.iter().zip(base).map(|(turn, base)| turn.rate / base.rate))
}

/// How far the fastest and the slowest turn lie apart, as a part of the median.
fn noise(turns: &[Measured]) -> f64 {
    let rates = || turns.iter().map(|turn| turn.rate);
    (rates().fold(f64::MIN, f64::max) - rates().fold(f64::MAX, f64::min)) / rate(turns)
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

pub fn quantile(values: &mut [Duration], part: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len() as f64 * part) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
