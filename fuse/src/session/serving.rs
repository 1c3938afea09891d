//! The life of a session's threads: from the start to the end of the mount.
//!
//! Requests come by rings if the kernel takes what they need, otherwise by the descriptor;
//! both are tried out here and nowhere else.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use tracing::{debug, warn};

use super::{MountError, Session, Transport, handshake};
use crate::kernel::company::Company;
use crate::kernel::crew::Crew;
use crate::kernel::device::Device;
use crate::kernel::notify;
use crate::kernel::ring::desk::Desk;
use crate::kernel::ring::listener::Listener;
use crate::kernel::ring::queue::{Left, Queue, clerk};
use crate::kernel::ring::{Rings, Share, Turn, WayBack};
use crate::kernel::serve::{Server, Service};
use crate::sys;

/// The name of the threads that serve, at most 15 bytes (`PR_SET_NAME`).
const THREAD_NAME: &str = "mica-serve";

/// The threads of a session, each with its outcome.
struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    service: &'env Service<'env>,
    desk: &'env Desk<'env>,
    /// What comes beside rings, where there are any.
    listener: Option<&'env Listener<'env>>,
    /// Made readable when a thread ends.
    over: &'env OwnedFd,
    /// Readable when the threads of rings are to leave.
    leave: &'env OwnedFd,
    running: Vec<ScopedJoinHandle<'scope, Result<(), Errno>>>,
    /// Whether all take requests from the descriptor of the session itself.
    shares: bool,
}

impl Session {
    /// Serves until the file system is unmounted or a [`StopHandle`](super::StopHandle)
    /// fires; the mount is gone when this returns, from under its users if need be.
    pub fn serve(self) -> Result<(), MountError> {
        self.serve_telling(|_| {})
    }

    /// As [`Session::serve`]; says how requests come once the kernel has decided that.
    pub fn serve_telling(mut self, tell: impl FnOnce(Transport)) -> Result<(), MountError> {
        sys::steady_heap();
        let mut rings = self.rings.take();
        let failed = |what| MountError::system(what, &self.mount.point);
        let event = || {
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(failed("make an event descriptor for"))
        };
        let (over, leave) = (event()?, event()?);
        let crew = Crew::default();
        let company = self.options.company().map(Arc::new);
        let service = Service {
            shown: &self.shown,
            crew: &crew,
            company: company.as_deref(),
            statistics: &self.statistics,
            session: self.descriptor.as_fd(),
            over: over.as_fd(),
            patience: self.options.patience(),
            buffer: handshake::MAX_WRITE as usize + 4096,
        };
        let way_back = rings.as_mut().and_then(Rings::way_back);
        let shares = rings.as_mut().map(Rings::deal);
        let shares = shares.unwrap_or_default();
        let desk = Desk::new(shares.len()).map_err(failed("make an event descriptor for"))?;
        let listener = way_back.as_ref().map(|_| Listener::new(&service));
        let listener = listener
            .transpose()
            .map_err(failed("open another descriptor for"))?;
        thread::scope(|scope| {
            let mut threads = Threads {
                scope,
                service: &service,
                desk: &desk,
                listener: listener.as_ref(),
                over: &over,
                leave: &leave,
                running: Vec::new(),
                shares: self.options.held,
            };
            let mut outcome = threads
                .start_all(shares, way_back, self.options.effective_threads())
                .map(|rings| tell(self.told(rings)))
                .map_err(failed("start the threads of"));
            if let Some(company) = &company {
                start_companion(company);
            }
            if self.resumes
                && let Err(errno) = notify::send_again(self.descriptor.as_fd())
            {
                warn!("what was under way stays without an answer: {errno}");
            }
            if outcome.is_ok() {
                outcome = self.wait_for_end(&over);
            }
            outcome.and(threads.end().map_err(failed("serve")))
        })
    }

    fn told(&self, by_rings: bool) -> Transport {
        match (by_rings, self.options.transport) {
            (true, _) => Transport::Ring,
            (false, Transport::Block) => Transport::Block,
            (false, _) => Transport::Poll,
        }
    }

    /// Waits until the threads say that it is over, or unmounts when told to stop.
    fn wait_for_end(&self, over: &OwnedFd) -> Result<(), MountError> {
        loop {
            let mut descriptors = [
                PollFd::new(&over, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::IN),
            ];
            match poll(&mut descriptors, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(MountError::system("wait for", &self.mount.point)(errno)),
            }
            let [over, stop] = descriptors.map(|descriptor| descriptor.revents());
            if !over.is_empty() {
                return Ok(());
            }
            if !stop.is_empty() {
                return self.mount.remove();
            }
        }
    }
}

impl<'scope, 'env> Threads<'scope, 'env> {
    /// Starts the threads of rings with all that goes beside them, or those of the
    /// descriptor; returns whether it is rings.
    fn start_all(
        &mut self,
        shares: Vec<Share<'env>>,
        way_back: Option<WayBack>,
        count: usize,
    ) -> Result<bool, Errno> {
        let (Some(way_back), Some(listener)) = (way_back, self.listener) else {
            return self.start_servers(count).map(|()| false);
        };
        if let Err(errno) = self.start_queues(shares, listener) {
            warn!("requests come by the descriptor, since the kernel takes no ring: {errno}");
            way_back.take(self.service.session)?;
            return self.start_servers(count).map(|()| false);
        }
        for _ in 0..count {
            let (service, desk, over) = (self.service, self.desk, self.over);
            self.start(move || {
                // A clerk that fails takes a request along that nobody else can answer.
                let _end = End(over);
                clerk(service, desk);
                Ok(())
            })?;
        }
        let over = self.over;
        self.start(move || {
            let _end = End(over);
            listener.listen()
        })?;
        Ok(true)
    }

    fn start_servers(&mut self, count: usize) -> Result<(), Errno> {
        for _ in 0..count {
            let device = if self.shares {
                Device::shared(self.service.session)?
            } else {
                Device::another(self.service.session)?
            };
            let server = Server::new(self.service, device)?;
            let over = self.over;
            self.start(move || {
                let _end = End(over);
                server.run()
            })?;
        }
        Ok(())
    }

    /// Starts the threads of rings. If one cannot that the kernel needs, none serves, and all
    /// have left; the kernel may count on the ring once those have begun, so that others are
    /// only a matter of speed.
    fn start_queues(
        &mut self,
        shares: Vec<Share<'env>>,
        listener: &'env Listener<'env>,
    ) -> Result<(), Errno> {
        let mut turns: BTreeMap<Turn, Vec<_>> = BTreeMap::new();
        for (thread, share) in shares.into_iter().enumerate() {
            turns.entry(share.turn).or_default().push((thread, share));
        }
        for (turn, shares) in turns {
            match self.start_threads(shares, listener) {
                Err(errno) if turn.is_needed() => {
                    announce(self.leave);
                    self.join()?;
                    return Err(errno);
                }
                Err(errno) => debug!("lend more entries: {errno}"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Starts threads that serve queues, and waits until they have lent their entries.
    fn start_threads(
        &mut self,
        shares: Vec<(usize, Share<'env>)>,
        listener: &'env Listener<'env>,
    ) -> Result<(), Errno> {
        let (report, reports) = mpsc::channel();
        let (service, desk) = (self.service, self.desk);
        let (over, leave) = (self.over, self.leave);
        let count = shares.len();
        let mut outcome = Ok(());
        for share in shares {
            let report = report.clone();
            outcome = outcome.and(self.start(move || {
                let started = Queue::start((service, desk), listener, share, leave.as_fd());
                let told = report.send(started.as_ref().map(drop).map_err(|errno| *errno));
                // The other side listens until nobody can report any more.
                drop(report);
                let (Ok(queue), Ok(())) = (started, told) else {
                    return Ok(());
                };
                let end = End(over);
                let left = queue.run();
                if left == Ok(Left::Told) {
                    end.disarm();
                }
                left.map(drop)
            }));
        }
        drop(report);
        let reported = reports
            .into_iter()
            .try_fold(0, |count, one| one.map(|()| count + 1));
        outcome.and(match reported {
            Ok(started) if started == count => Ok(()),
            Ok(_) => Err(Errno::AGAIN),
            Err(errno) => Err(errno),
        })
    }

    fn start(
        &mut self,
        run: impl FnOnce() -> Result<(), Errno> + Send + 'scope,
    ) -> Result<(), Errno> {
        self.running.push(start(self.scope, run)?);
        Ok(())
    }

    /// Sends all away, and waits until they have ended.
    fn end(mut self) -> Result<(), Errno> {
        self.service.crew.dismiss();
        self.desk.close();
        if let Some(company) = self.service.company {
            company.dismiss();
        }
        announce(self.over);
        announce(self.leave);
        self.join()
    }

    /// Waits until all have ended.
    fn join(&mut self) -> Result<(), Errno> {
        let mut outcome = Ok(());
        for thread in self.running.drain(..) {
            // A panic has been printed by its thread; the mount ends as after a failure.
            outcome = outcome.and(thread.join().unwrap_or(Err(Errno::IO)));
        }
        outcome
    }
}

/// Starts a thread of a session.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Errno> {
    thread::Builder::new()
        .name(THREAD_NAME.into())
        .spawn_scoped(scope, run)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
}

/// Starts a thread that nobody waits for: it may have to wait for a caller that goes only
/// when the session is over.
fn start_companion(company: &Arc<Company>) {
    let company = Arc::clone(company);
    let started = thread::Builder::new()
        .name(THREAD_NAME.into())
        .spawn(move || company.keep());
    if let Err(error) = started {
        debug!("start a companion: {error}");
    }
}

/// Says that the session is over when a thread ends, however it ends.
struct End<'s>(&'s OwnedFd);

impl End<'_> {
    /// It is not over.
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        announce(self.0);
    }
}

/// Makes the event descriptor readable for good: nobody reads it.
fn announce(over: &OwnedFd) {
    if let Err(errno) = rustix::io::write(over, &1_u64.to_ne_bytes()) {
        debug!("event descriptor: {errno}");
    }
}
