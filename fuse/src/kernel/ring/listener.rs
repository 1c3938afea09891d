//! What does not come by rings: FORGET, above all, for which nobody waits.
//!
//! A thread that serves queues looks now and then for what has come, while it is awake
//! anyway; a thread of its own sees to the rest when all is quiet. Neither is in the way of
//! the other for long.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::kernel::device::Device;
use crate::kernel::serve::{Server, Service};

/// How long messages come together, so that many of them are worth one wake-up.
const GATHERING: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// The descriptor beside the rings.
#[derive(Debug)]
pub(crate) struct Listener<'s> {
    service: &'s Service<'s>,
    device: Device,
    server: Mutex<Server<'s>>,
}

impl<'s> Listener<'s> {
    pub(crate) fn new(service: &'s Service<'s>) -> Result<Self, Errno> {
        let device = Device::another(service.session)?;
        Ok(Self {
            service,
            server: Mutex::new(Server::new(service, device)?),
            device: Device::shared(service.session)?,
        })
    }

    /// Answers what is there, unless somebody does already.
    pub(crate) fn glance(&self) -> Result<(), Errno> {
        match self.server.try_lock() {
            Ok(mut server) => server.take_all().map(drop),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Poisoned(server)) => server.into_inner().take_all().map(drop),
        }
    }

    /// Answers what comes until the session is over.
    pub(crate) fn listen(&self) -> Result<(), Errno> {
        loop {
            let over = PollFd::from_borrowed_fd(self.service.over, PollFlags::IN);
            let device = PollFd::new(&self.device, PollFlags::IN);
            if is_over(&mut [over.clone(), device], None)?
                || is_over(&mut [over], Some(&GATHERING))?
                || self.server().take_all()?
            {
                return Ok(());
            }
        }
    }

    fn server(&self) -> MutexGuard<'_, Server<'s>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the first of the descriptors, which says that it is over, or for another.
fn is_over(descriptors: &mut [PollFd<'_>], limit: Option<&Timespec>) -> Result<bool, Errno> {
    match poll(descriptors, limit) {
        Ok(_) => Ok(descriptors
            .first()
            .is_some_and(|over| !over.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}
