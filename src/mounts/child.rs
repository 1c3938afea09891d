//! The serving process's side: from the plan to the end of the mount.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use mica_fuse::session::Session;
use mica_fuse::{Appearance, IdMap, IdMaps, Shown, Tree};

use super::process::Process;
use super::{MountPlan, MountRecord, MountsError, Records, TreePlan, failed, failed_call};
use crate::browse;
use crate::daemon::{self, EndSignals, Word, log};
use crate::store::Store;

/// Where a serving process tells of warnings and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    /// On the stderr that it was started with.
    Stderr,
    /// In a file beside the record.
    LogFile,
}

/// A mount that is made, with all that must live as long as it.
#[derive(Debug)]
struct Served {
    session: Session,
    record: MountRecord,
    records: Records,
}

/// Is the whole life of a serving process; called first thing in `main`, before any
/// descriptor is opened or thread started.
pub fn serve_child() -> Result<(), MountsError> {
    daemon::close_inherited()?;
    let mounted = detach()
        .and_then(|()| read_plan())
        .and_then(|plan| mount(&plan, Telling::LogFile))
        .and_then(Served::with_log);
    let (served, log) = match mounted {
        Ok(mounted) => mounted,
        Err(error) => {
            let failure = daemon::describe(&error, error.hint());
            return Ok(Word::<MountRecord>::Failed(failure).say()?);
        }
    };
    Word::Ready(&served.record).say()?;
    daemon::let_go(Some(log.as_fd()))?;
    log::write_to(log);
    served.serve()
}

/// Mounts and serves in this process, until the mount is gone or SIGINT, SIGTERM or
/// SIGHUP comes; `ready` is called once the mount can be used.
pub fn serve_here(plan: &MountPlan, ready: impl FnOnce(&MountRecord)) -> Result<(), MountsError> {
    let served = mount(plan, Telling::Stderr)?;
    ready(&served.record);
    served.serve()
}

impl Served {
    /// Makes the log file, after the record: an earlier process at this mount point that
    /// is about to end removes what has no newer record.
    fn with_log(self) -> Result<(Self, OwnedFd), MountsError> {
        let path = self.records.log(&self.record.mountpoint);
        match log::create(&path) {
            Ok(file) => Ok((self, file)),
            Err(error) => {
                self.records.remove(&self.record)?;
                Err(error.into())
            }
        }
    }

    /// Serves to the end. The record goes last: who sees it gone sees the mount gone.
    fn serve(mut self) -> Result<(), MountsError> {
        let (record, records) = (&mut self.record, &self.records);
        let outcome = self.session.serve_telling(|transport| {
            let transport = transport.into();
            if record.transport != transport {
                record.transport = transport;
                if let Err(error) = records.write(record) {
                    tracing::warn!("{error}");
                }
            }
        });
        self.records.remove(&self.record)?;
        Ok(outcome?)
    }
}

fn mount(plan: &MountPlan, telling: Telling) -> Result<Served, MountsError> {
    let point = plan.mountpoint.as_path();
    let signals = EndSignals::catch(point)?;
    daemon::raise_descriptor_limit();
    let session = Session::mount(show(plan)?, point, &plan.options())?;
    signals.end(session.stop_handle()?);
    let process = Process::current().map_err(failed("look at", Path::new("/proc/self/stat")))?;
    let records = Records::at(&plan.records);
    let record = MountRecord {
        mountpoint: session.mountpoint().to_owned(),
        image: plan.image.clone(),
        snapshot: plan.snapshot.clone(),
        layers: plan.layers.clone(),
        upper: plan.upper.clone(),
        browse: plan.browse.clone(),
        access: plan.access,
        transport: session.transport().into(),
        store: plan.store.clone(),
        pid: process.pid,
        pid_start_time: process.start_time,
        statistics_descriptor: Some(session.statistics().descriptor().as_raw_fd()),
        created: Timestamp::now(),
        log: (telling == Telling::LogFile).then(|| records.log(session.mountpoint())),
    };
    records.write(&record)?;
    Ok(Served {
        session,
        record,
        records,
    })
}

fn show(plan: &MountPlan) -> Result<Shown, MountsError> {
    match &plan.browse {
        Some(browse) => Ok(browse::forest(Store::open(&plan.store)?, browse).into()),
        None => Ok(Arc::new(open(plan)?).into()),
    }
}

/// Opens the tree that the plan names in the store, which holds what it shows.
pub(crate) fn open(plan: &MountPlan) -> Result<Tree, MountsError> {
    let store = Store::open(&plan.store)?;
    let tree = TreePlan {
        layers: plan.layers.clone(),
        upper: plan.upper.clone(),
        uses: plan.uses.clone(),
        access: plan.access,
    };
    let tree = tree.open(&store, |plans| store.layers().open_all(plans))?;
    let Some((uid, gid)) = plan.squash else {
        return Ok(tree);
    };
    Ok(tree.with_appearance(Appearance {
        ids: IdMaps {
            users: IdMap::default().squashed_to(uid),
            groups: IdMap::default().squashed_to(gid),
        },
        ..Appearance::default()
    }))
}

/// Leaves the session and the working directory of the command. Paths of the plan are
/// absolute.
fn detach() -> Result<(), MountsError> {
    daemon::detach()?;
    let root = Path::new("/");
    rustix::process::chdir(root).map_err(failed_call("change to", root))
}

fn read_plan() -> Result<MountPlan, MountsError> {
    let mut json = Vec::new();
    let stdin = Path::new("-");
    io::stdin()
        .lock()
        .read_to_end(&mut json)
        .map_err(failed("read", stdin))?;
    serde_json::from_slice(&json).map_err(|source| MountsError::Description {
        path: stdin.to_owned(),
        source,
    })
}
