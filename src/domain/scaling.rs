//! Decides how many replicas of a deployment run.

use std::time::Duration;

use crate::domain::serving::Autoscaling;

/// What was observed of a deployment that serves.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// Replicas that run or start.
    pub replicas: usize,
    /// Calls that are answered or wait, on average over the autoscaling window.
    pub calls: f64,
    /// How long the number of calls would have allowed fewer replicas.
    pub quiet_for: Duration,
}

/// How many replicas are to run now. `replicas_max` is the limit of the installation for one deployment.
///
/// More replicas start at once. Fewer run only after `scale_down_delay`, and none only with a `min_replica` of 0.
pub fn wanted(settings: &Autoscaling, observed: &Observed, replicas_max: usize) -> usize {
    let Observed { replicas, calls, quiet_for } = *observed;
    let fitting = fitting(settings, calls, replicas_max);
    if fitting >= replicas {
        return fitting;
    }
    if quiet_for < delay(settings) {
        return replicas;
    }
    fitting
}

/// How many replicas the calls need.
pub fn fitting(settings: &Autoscaling, calls: f64, replicas_max: usize) -> usize {
    let least = usize::try_from(settings.min_replica).unwrap_or(0);
    let most = usize::try_from(settings.max_replica).unwrap_or(1).max(1).min(replicas_max.max(1));
    let target = settings.concurrency_target as f64 * settings.target_utilization_percentage as f64 / 100.0;
    let needed = (calls / target.max(0.01)).ceil();
    (needed as usize).clamp(least.min(most), most)
}

/// How long fewer calls are waited for before replicas stop.
pub fn delay(settings: &Autoscaling) -> Duration {
    Duration::from_secs(u64::try_from(settings.scale_down_delay).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(min_replica: i64, max_replica: i64) -> Autoscaling {
        let delayed = Autoscaling { scale_down_delay: 60, concurrency_target: 2, ..Autoscaling::default() };
        Autoscaling { min_replica, max_replica, target_utilization_percentage: 50, ..delayed }
    }

    fn wanted_of(settings: &Autoscaling, replicas: usize, calls: f64, quiet_seconds: u64) -> usize {
        wanted(settings, &Observed { replicas, calls, quiet_for: Duration::from_secs(quiet_seconds) }, 8)
    }

    #[test]
    fn replicas_follow_the_calls_within_their_bounds() {
        let from_zero = settings(0, 4);
        assert_eq!(wanted_of(&from_zero, 1, 0.0, 59), 1);
        assert_eq!(wanted_of(&from_zero, 1, 0.0, 60), 0);
        assert_eq!(wanted_of(&from_zero, 1, 0.1, 60), 1);
        assert_eq!(wanted_of(&from_zero, 1, 1.1, 0), 2); // one call fills half of a replica
        assert_eq!(wanted_of(&from_zero, 1, 100.0, 0), 4);
        assert_eq!(wanted_of(&from_zero, 4, 1.0, 10), 4);
        assert_eq!(wanted_of(&from_zero, 4, 1.0, 61), 1);
        let from_two = settings(2, 4);
        assert_eq!(wanted_of(&from_two, 0, 0.0, 0), 2);
        assert_eq!(wanted_of(&from_two, 2, 0.0, 1000), 2);
        assert_eq!(wanted_of(&settings(2, 4), 3, 0.0, 1000), 2);
        assert_eq!(wanted_of(&settings(16, 20), 0, 0.0, 0), 8); // what the installation allows
    }
}
