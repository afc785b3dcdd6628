//! How long calls took: a histogram, from which quantiles are estimated.

/// The upper bounds of the buckets, in milliseconds. A last bucket has the calls that took longer.
pub const BOUNDS_MILLIS: [u64; 26] = [
    1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800, 1_200, 2_000, 3_000, 5_000, 8_000, 12_000, 30_000,
    60_000, 300_000, 1_200_000, 3_600_000,
];
const BUCKETS: usize = BOUNDS_MILLIS.len() + 1;
/// The bytes of a stored bucket: its number, then how many calls it has.
const STORED_BYTES: usize = 9;

/// How many calls took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies([u64; BUCKETS]);

impl Latencies {
    pub fn note(&mut self, milliseconds: u64) {
        self.0[BOUNDS_MILLIS.partition_point(|bound| *bound < milliseconds)] += 1;
    }

    pub fn add(&mut self, other: &Latencies) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, calls)| *sum += calls);
    }

    pub fn calls(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many calls took at most as long as each bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        BOUNDS_MILLIS.into_iter().zip(self.0).scan(0, |sum, (bound, calls)| {
            *sum += calls;
            Some((bound, *sum))
        })
    }

    /// How long the given share of calls took at most, in milliseconds; estimated within a bucket. `None` without calls.
    pub fn quantile_millis(&self, share: f64) -> Option<f64> {
        let wanted = share * self.calls() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        let last = BOUNDS_MILLIS[BOUNDS_MILLIS.len() - 1];
        for (at, calls) in self.0.iter().enumerate() {
            let (calls, upper) = (*calls as f64, *BOUNDS_MILLIS.get(at).unwrap_or(&last) as f64);
            if calls > 0.0 && below + calls >= wanted {
                return Some(lower + (upper - lower) * ((wanted - below) / calls).clamp(0.0, 1.0));
            }
            (below, lower) = (below + calls, upper);
        }
        None
    }

    /// The form in which the database holds it: the buckets that have calls.
    pub fn to_bytes(&self) -> Vec<u8> {
        let filled = self.0.iter().enumerate().filter(|(_, calls)| **calls > 0);
        filled.flat_map(|(at, calls)| std::iter::once(at as u8).chain(calls.to_le_bytes())).collect()
    }

    /// Reads the form of [`Latencies::to_bytes`]. Buckets that this version does not have are left out.
    pub fn of_bytes(bytes: &[u8]) -> Latencies {
        let mut latencies = Latencies::default();
        for stored in bytes.chunks_exact(STORED_BYTES) {
            let (at, calls) = stored.split_at(1);
            if let (Some(bucket), Ok(calls)) = (latencies.0.get_mut(usize::from(at[0])), calls.try_into()) {
                *bucket = u64::from_le_bytes(calls);
            }
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all_millis: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        all_millis.iter().for_each(|millis| latencies.note(*millis));
        latencies
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_call() {
        let latencies = of(&[10, 10, 10, 10, 10, 10, 10, 10, 10, 4_000]);
        let (median, last) = (latencies.quantile_millis(0.5).unwrap(), latencies.quantile_millis(0.99).unwrap());
        assert!((8.0..=12.0).contains(&median) && (3_000.0..=5_000.0).contains(&last), "{median} {last}");
        assert_eq!(Latencies::default().quantile_millis(0.5), None);
        assert_eq!(of(&[u64::MAX]).quantile_millis(0.5), Some(3_600_000.0));
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let latencies = of(&[0, 1, 2, 7, 7, 900, 3_600_000, 3_600_001]);
        assert_eq!(Latencies::of_bytes(&latencies.to_bytes()), latencies);
        assert_eq!(latencies.calls(), 8);
        assert_eq!(latencies.cumulative().last(), Some((3_600_000, 7)));
    }
}
