//! The serving process's side: from the plan to the end of the mount.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use mica_fuse::session::Session;
use mica_fuse::{ActiveView, Appearance, IdMap, IdMaps, Tree, View, ViewOptions};

use super::process::Process;
use super::{LayerPlan, MountPlan, MountRecord, MountsError, Records, failed, failed_call};
use crate::daemon::{self, EndSignals, Word, log};
use crate::oci::DiffId;
use crate::snapshots::{SnapshotUse, Snapshots};
use crate::store::Store;
use crate::{layers, snapshots};

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
    _holds: Holds,
}

/// What keeps all that is shown in the store.
#[derive(Debug)]
pub(crate) struct Holds {
    _layers: layers::Hold,
    _snapshots: Vec<snapshots::Hold>,
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
    let (tree, holds) = open(plan)?;
    let session = Session::mount(Arc::new(tree), point, &plan.options())?;
    signals.end(session.stop_handle()?);
    let process = Process::current().map_err(failed("look at", Path::new("/proc/self/stat")))?;
    let records = Records::at(&plan.records);
    let record = MountRecord {
        mountpoint: session.mountpoint().to_owned(),
        image: plan.image.clone(),
        snapshot: plan.snapshot.clone(),
        layers: plan.layers.clone(),
        upper: plan.upper.clone(),
        access: plan.access,
        transport: session.transport().into(),
        store: plan.store.clone(),
        pid: process.pid,
        pid_start_time: process.start_time,
        created: Timestamp::now(),
        log: (telling == Telling::LogFile).then(|| records.log(session.mountpoint())),
    };
    records.write(&record)?;
    Ok(Served {
        session,
        record,
        records,
        _holds: holds,
    })
}

/// Holds what the plan names in the store, then opens it.
pub(crate) fn open(plan: &MountPlan) -> Result<(Tree, Holds), MountsError> {
    let store = Store::open(&plan.store)?;
    let holds = hold(plan, &store)?;
    // By descriptor, so that a mount point above a directory layer does not matter.
    let layers = store.layers().open_all(&plan.layers)?;
    let options = ViewOptions {
        access: plan.access.into(),
    };
    let tree = match &plan.upper {
        None => View::open(layers, options).map(Tree::from),
        Some(upper) => upper
            .open()
            .and_then(|upper| ActiveView::open(layers, upper, options))
            .map(Tree::from),
    };
    let tree = tree.map_err(failed_view(plan))?;
    let Some((uid, gid)) = plan.squash else {
        return Ok((tree, holds));
    };
    let looks = Appearance {
        ids: IdMaps {
            users: IdMap::default().squashed_to(uid),
            groups: IdMap::default().squashed_to(gid),
        },
        ..Appearance::default()
    };
    Ok((tree.with_appearance(looks), holds))
}

fn hold(plan: &MountPlan, store: &Store) -> Result<Holds, MountsError> {
    let packed = plan.layers.iter().filter_map(LayerPlan::diff_id);
    let packed: Vec<DiffId> = packed.cloned().collect();
    let of = |used: &SnapshotUse| Snapshots::new(store, used.namespace.clone());
    let mut snapshots = Vec::new();
    for used in &plan.uses {
        snapshots.push(of(used).hold(used)?);
    }
    if let Some(used) = plan
        .upper
        .as_ref()
        .and_then(|upper| upper.snapshot.as_ref())
    {
        snapshots.push(of(used).hold_active(used)?);
    }
    Ok(Holds {
        _layers: store.layers().hold(&packed)?,
        _snapshots: snapshots,
    })
}

fn failed_view(plan: &MountPlan) -> impl Fn(mica_fuse::Error) -> MountsError {
    |source| MountsError::View {
        point: plan.mountpoint.clone(),
        source,
    }
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
