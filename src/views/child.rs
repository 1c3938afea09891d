//! The serving process: from its start to the end of the mount.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use mica_fuse::Forest;
use mica_fuse::session::{self, Busy, CacheMode, MountError, MountOptions, Session};

use super::catalogue::Catalogue;
use super::control::{Control, Trees};
use super::{Places, ViewsError, failed};
use crate::daemon::{self, EndSignals, Word, log};
use crate::mounts::AccessMode;
use crate::snapshots::Directories;
use crate::store::{LockName, Store};

/// A mount that is made, and who looks after it.
#[derive(Debug)]
struct Served {
    session: Session,
    control: Control,
    log: OwnedFd,
}

/// Is the whole life of the process; called first thing in `main`, before any descriptor is
/// opened or thread started. The path of the store is absolute.
pub fn serve_child(store: &Path) -> Result<(), ViewsError> {
    daemon::close_inherited()?;
    let served = match detach().and_then(|()| mount(store)) {
        Ok(served) => served,
        Err(error) => {
            let failure = daemon::describe(&error, None);
            return Ok(Word::<()>::Failed(failure).say()?);
        }
    };
    Word::Ready(()).say()?;
    daemon::let_go(Some(served.log.as_fd()))?;
    log::write_to(served.log);
    let control = served.control;
    // Until nobody is there any more, which the end of the mount does not wait for.
    std::thread::spawn(move || control.run());
    Ok(served.session.serve()?)
}

fn mount(store: &Path) -> Result<Served, ViewsError> {
    let store = Store::open(store)?;
    let places = Places::in_store(store.root());
    let lock = store.locks().exclusive_in_a_moment(&LockName::Views)?;
    let lock = lock.ok_or_else(|| ViewsError::Served {
        path: places.directory.clone(),
    })?;
    let signals = EndSignals::catch(&places.directory)?;
    daemon::raise_descriptor_limit();
    remove_dead(&places.shown())?;
    let directories = Directories::new(store.root());
    let catalogue = Catalogue::new(places.clone(), store.layers(), directories);
    let forest = Arc::new(Forest::new(catalogue.clone()));
    let session = Session::mount(Arc::clone(&forest), &places.shown(), &options())?;
    signals.end(session.stop_handle()?);
    let log = log::create(&places.log())?;
    let trees = Trees {
        places,
        catalogue,
        forest,
    };
    Ok(Served {
        session,
        control: Control::new(trees, lock)?,
        log,
    })
}

fn options() -> MountOptions {
    let access = AccessMode::default_for_process();
    let mut options = MountOptions::new("mica", access.into());
    options.writable = true;
    options.cache = CacheMode::best_for_process();
    options
}

/// Takes mounts away whose process has died: whoever has the lock serves alone.
fn remove_dead(shown: &Path) -> Result<(), ViewsError> {
    loop {
        match session::unmount(shown, Busy::Detach) {
            Ok(()) => {}
            Err(MountError::NotMounted { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn detach() -> Result<(), ViewsError> {
    daemon::detach()?;
    let root = Path::new("/");
    rustix::process::chdir(root).map_err(|errno| failed("change to", root)(errno.into()))
}
