//! Whether the watch polls or sleeps between two requests, by what was faster lately.
//!
//! Neither is better as such. Where a CPU is free, a server that sleeps wakes up there
//! 45 µs after a request, and one that polls there has it in a few. Where none is free,
//! a sleeper runs on the caller's own CPU the moment the caller waits, which is the
//! fastest of all, while one that polls keeps the caller from running. So both are
//! tried, time and again for a few requests, and the faster is kept. What is measured is
//! the time from request to request, with all that the caller does in between.

use std::time::{Duration, Instant};

/// Requests that are timed together.
const WINDOW: u32 = 32;

/// Of so many windows one tries the other way.
const TRIAL: u32 = 32;

/// A caller that waits as long between two requests is doing something else: the time
/// says nothing about the way.
const PAUSE: Duration = Duration::from_millis(1);

/// The state of one watch.
#[derive(Debug)]
pub(crate) struct Pace {
    patience: Duration,
    polls: bool,
    /// The time of a window when sleeping and when polling, smoothed.
    times: [Option<Duration>; 2],
    windows: u32,
    requests: u32,
    start: Instant,
    last: Instant,
}

impl Pace {
    /// Starts with sleeping; `patience` is how long to poll when polling.
    pub(crate) fn new(patience: Duration, now: Instant) -> Self {
        Self {
            patience,
            polls: false,
            times: [None; 2],
            windows: 0,
            requests: 0,
            start: now,
            last: now,
        }
    }

    /// Returns how long to poll before sleeping.
    pub(crate) fn patience(&self) -> Duration {
        if self.polls {
            self.patience
        } else {
            Duration::ZERO
        }
    }

    /// Takes note of a request; without patience there is nothing to choose.
    pub(crate) fn request(&mut self, now: Instant) {
        if self.patience.is_zero() {
            return;
        }
        if now.duration_since(self.last) > PAUSE {
            self.start = now;
            self.requests = 0;
        }
        self.last = now;
        self.requests += 1;
        if self.requests > WINDOW {
            self.end_window(now);
        }
    }

    fn end_window(&mut self, now: Instant) {
        let time = now.duration_since(self.start);
        if let Some(smoothed) = self.times.get_mut(usize::from(self.polls)) {
            *smoothed = Some(smoothed.map_or(time, |before| (before * 3 + time) / 4));
        }
        self.windows = self.windows.wrapping_add(1);
        let is_trial = self.windows.is_multiple_of(TRIAL);
        self.polls = should_poll(self.times) != is_trial;
        self.start = now;
        self.requests = 1;
    }
}

/// Polling costs processor time, so it must be a tenth faster; what was never tried is
/// tried.
fn should_poll(times: [Option<Duration>; 2]) -> bool {
    match times {
        [Some(asleep), Some(polling)] => polling < asleep * 9 / 10,
        [asleep, None] => asleep.is_some(),
        [None, Some(_)] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests at the interval that each way gives; returns how many were polled for.
    fn polled(asleep: u64, polling: u64, requests: u32) -> u32 {
        let mut now = Instant::now();
        let mut pace = Pace::new(Duration::from_micros(100), now);
        let mut polled = 0;
        for _ in 0..requests {
            let polls = !pace.patience().is_zero();
            polled += u32::from(polls);
            now += Duration::from_micros(if polls { polling } else { asleep });
            pace.request(now);
        }
        polled
    }

    #[test]
    fn the_faster_way_is_kept_and_the_other_tried_now_and_then() {
        let cases = [
            ("polling is faster", 45, 12, 9_500..9_800),
            ("sleeping is faster", 9, 20, 250..700),
            (
                "no faster is not worth the processor time",
                10,
                10,
                250..700,
            ),
            ("pauses teach nothing", 2_000, 2_000, 0..1),
        ];
        for (why, asleep, polling, expected) in cases {
            let polled = polled(asleep, polling, 10_000);
            assert!(expected.contains(&polled), "{why}: {polled}");
        }
    }
}
