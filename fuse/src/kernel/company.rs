//! A companion that keeps the other CPU occupied while requests come thick and fast.
//!
//! A caller that waits and a server that sleeps can take turns on one CPU: a round
//! trip is then two switches of context. But the scheduler wakes the caller on a CPU
//! that is idle, if there is one, and waking an idle CPU of a virtual machine costs
//! several times as much as the request. So on a machine with two CPUs, during a run of
//! requests, the watch moves to the caller's CPU and a thread of the lowest priority
//! spins on the other: no CPU is idle, and caller and server stay together. The spinner
//! yields all the time to whatever else wants to run.
//!
//! Where the caller is, the companion finds out, never a thread that answers: a caller that
//! is about to run another program closes files, and may ask us to, while the kernel keeps
//! all who look at it waiting.
//!
//! It rests when no request came for [`PATIENCE`]; nothing runs when nothing is asked.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use tracing::debug;

/// How long the companion spins after the last request.
const PATIENCE: Duration = Duration::from_micros(150);
/// Requests that follow each other within [`PATIENCE`] before the companion is called.
const RUN: u32 = 4;
/// Requests of a run after which the watch looks again where the caller is.
const LOOK: u32 = 128;
/// Spins between two looks at the clock.
const SPINS: u32 = 64;
/// No place that is known, and no thread.
const UNKNOWN: usize = usize::MAX;
const NOBODY: u32 = 0;
/// The lowest priority of ordinary threads, `nice(2)`.
const LOWEST_PRIORITY: i32 = 19;

/// What the watch and the companion share.
#[derive(Debug)]
pub(crate) struct Company {
    cpus: [usize; 2],
    requests: AtomicU64,
    /// The thread that the companion is to look for.
    sought: AtomicU32,
    /// Which of `cpus` the caller is on.
    place: AtomicUsize,
    is_called: AtomicBool,
    is_over: Mutex<bool>,
    changed: Condvar,
}

/// The watch's side: tells a run of requests from single ones.
#[derive(Debug)]
pub(crate) struct Caller<'c> {
    company: Option<&'c Company>,
    last: Option<Instant>,
    in_a_run: u32,
    /// Which of the CPUs this thread is bound to.
    place: Option<usize>,
    /// Whether it always is: its callers are there too.
    is_bound: bool,
}

impl Company {
    /// Returns the company of a process that may run on these two CPUs.
    pub(crate) fn new(cpus: [usize; 2]) -> Self {
        Self {
            cpus,
            requests: AtomicU64::new(0),
            sought: AtomicU32::new(NOBODY),
            place: AtomicUsize::new(UNKNOWN),
            is_called: AtomicBool::new(false),
            is_over: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// Spins while there are runs of requests and rests between them, until
    /// [`Company::dismiss`].
    pub(crate) fn keep(&self) {
        if let Err(errno) = rustix::process::setpriority_process(None, LOWEST_PRIORITY) {
            // At full priority it would be in the way.
            debug!("lower the priority of the companion: {errno}");
            return;
        }
        while self.wait_for_call() {
            self.spin();
            self.is_called.store(false, Ordering::Relaxed);
        }
    }

    /// Sends the companion away for good.
    pub(crate) fn dismiss(&self) {
        *self.over() = true;
        self.changed.notify_one();
    }

    fn call(&self) {
        let _over = self.over();
        self.is_called.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Rests until called; returns whether it was, rather than sent away.
    fn wait_for_call(&self) -> bool {
        let mut over = self.over();
        while !*over && !self.is_called.load(Ordering::Relaxed) {
            over = self
                .changed
                .wait(over)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !*over
    }

    fn spin(&self) {
        let mut seen = self.requests.load(Ordering::Relaxed);
        let mut since = Instant::now();
        let mut place = None;
        while since.elapsed() < PATIENCE {
            for _ in 0..SPINS {
                std::hint::spin_loop();
            }
            std::thread::yield_now();
            let requests = self.requests.load(Ordering::Relaxed);
            if requests != seen {
                seen = requests;
                since = Instant::now();
            }
            self.look();
            if let Some(callers) = self.place() {
                let other = 1 - callers;
                if place != Some(other) {
                    place = Some(other);
                    self.bind(Some(other));
                }
            }
        }
    }

    /// Finds out where the caller is, if somebody wants to know.
    fn look(&self) {
        let sought = self.sought.swap(NOBODY, Ordering::Relaxed);
        if sought == NOBODY {
            return;
        }
        let found = cpu_of(sought);
        if let Some(place) = self.cpus.iter().position(|known| found == Some(*known)) {
            self.place.store(place, Ordering::Relaxed);
        }
    }

    /// Returns which of the CPUs the caller is on.
    fn place(&self) -> Option<usize> {
        let place = self.place.load(Ordering::Relaxed);
        (place < self.cpus.len()).then_some(place)
    }

    /// Binds this thread to one of the two CPUs, or to both.
    fn bind(&self, place: Option<usize>) {
        let mut set = CpuSet::new();
        for (number, cpu) in self.cpus.iter().enumerate() {
            if place.is_none_or(|place| place == number) {
                set.set(*cpu);
            }
        }
        if let Err(errno) = sched_setaffinity(None, &set) {
            debug!("bind a thread to a CPU: {errno}");
        }
    }

    fn over(&self) -> MutexGuard<'_, bool> {
        self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'c> Caller<'c> {
    pub(crate) fn new(company: Option<&'c Company>) -> Self {
        Self {
            company,
            last: None,
            in_a_run: 0,
            place: None,
            is_bound: false,
        }
    }

    /// Returns the side of a thread that is bound to a CPU by itself and is asked there.
    pub(crate) fn bound(company: Option<&'c Company>, cpu: Option<usize>) -> Self {
        let place_of =
            |company: &Company| company.cpus.iter().position(|known| cpu == Some(*known));
        Self {
            place: company.and_then(place_of),
            is_bound: true,
            ..Self::new(company)
        }
    }

    /// Takes note of a request by the thread `caller`; the fourth of a run calls the
    /// companion.
    pub(crate) fn request(&mut self, now: Instant, caller: u32) {
        let Some(company) = self.company else { return };
        let is_soon = self
            .last
            .is_some_and(|last| now.duration_since(last) < PATIENCE);
        self.last = Some(now);
        self.in_a_run = if is_soon { self.in_a_run + 1 } else { 1 };
        company.requests.fetch_add(1, Ordering::Relaxed);
        if self.is_bound {
            company
                .place
                .store(self.place.unwrap_or(UNKNOWN), Ordering::Relaxed);
        } else if self.in_a_run == 1 {
            company.place.store(UNKNOWN, Ordering::Relaxed);
            if self.place.take().is_some() {
                company.bind(None);
            }
        } else {
            if self.in_a_run % LOOK == RUN {
                company.sought.store(caller, Ordering::Relaxed);
            }
            self.join(company);
        }
        if self.in_a_run >= RUN && !company.is_called.load(Ordering::Relaxed) {
            company.call();
        }
    }

    /// Moves this thread to the caller's CPU, once it is known.
    fn join(&mut self, company: &Company) {
        if let Some(place) = company.place()
            && self.place != Some(place)
        {
            self.place = Some(place);
            company.bind(Some(place));
        }
    }
}

/// Returns the CPU that a thread last ran on; `None` if it is gone, or of another PID
/// namespace.
///
/// It is the 39th field of `/proc/<tid>/stat`; the second, in parentheses, may hold
/// anything.
fn cpu_of(thread: u32) -> Option<usize> {
    let stat = std::fs::read(format!("/proc/{thread}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(36)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_requests_calls_and_single_ones_do_not() {
        let cases = [
            ("a run", 20_u64, 10, true),
            ("too few", 20, 3, false),
            ("far apart", 500, 10, false),
        ];
        for (why, micros, requests, expected) in cases {
            let company = Company::new([0, 1]);
            let mut caller = Caller::new(Some(&company));
            let mut now = Instant::now();
            for _ in 0..requests {
                now += Duration::from_micros(micros);
                caller.request(now, 0);
            }
            assert_eq!(company.is_called.load(Ordering::Relaxed), expected, "{why}");
        }
    }

    #[test]
    fn the_companion_rests_after_a_run_and_leaves_when_sent_away() {
        let company = Company::new([0, 1]);
        std::thread::scope(|scope| {
            let companion = scope.spawn(|| company.keep());
            company.call();
            let start = Instant::now();
            while company.is_called.load(Ordering::Relaxed) {
                assert!(start.elapsed() < Duration::from_secs(10), "it spins on");
                std::thread::sleep(Duration::from_millis(1));
            }
            company.dismiss();
            companion.join().unwrap();
        });
    }

    #[test]
    fn a_thread_is_found_on_one_of_the_cpus_that_there_are() {
        let thread = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let cpu = cpu_of(thread).unwrap();
        assert!(rustix::thread::sched_getaffinity(None).unwrap().is_set(cpu));
        assert_eq!(cpu_of(u32::MAX), None);
    }
}
