//! Latencies as percentiles.

use hdrhistogram::Histogram;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Microseconds, up to ten minutes, three figures.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

/// The percentiles that are told.
const TOLD: [(&str, f64); 5] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

impl Latency {
    /// None yet.
    pub fn new() -> Self {
        // The bounds are valid for every build of the library: this cannot fail.
        Self(Histogram::new(3).unwrap_or_else(|_| unreachable!("three significant figures are allowed")))
    }

    /// Adds all of another histogram.
    pub fn add(&mut self, more: &Histogram<u64>) {
        let _ = self.0.add(more);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The percentiles in one line.
    pub fn words(&self) -> String {
        if self.0.is_empty() {
            return "no latency".to_owned();
        }
        let one = |(name, p): &(&str, f64)| format!("{name} {:.2} ms", self.0.value_at_percentile(*p) as f64 / 1000.0);
        TOLD.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(TOLD.len() + 1))?;
        map.serialize_entry("count", &self.0.len())?;
        for (name, p) in TOLD {
            let value = (!self.0.is_empty()).then(|| self.0.value_at_percentile(p));
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}
