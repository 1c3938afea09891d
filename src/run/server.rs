//! The process outside: makes the namespaces, mounts and serves the view, and waits.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use mica_fuse::session::{MountError, Session, StopHandle};
use mica_fuse::{Appearance, IdMap, IdMaps, Owners};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::UnshareFlags;
use signal_hook::consts::{SIGCHLD, SIGWINCH};

use super::runtime::Bundle;
use super::signals::Signals;
use super::terminal::{Shown, receive};
use super::{
    INIT_COMMAND, Ids, Network, RunError, RunPlan, SERVER_COMMAND, Writable, failed, failed_call,
    root, steward,
};
use crate::daemon;
use crate::mounts::{self, MountsError, UpperPlan, XattrMode};
use crate::publish::Staging;
use crate::store::Store;
use crate::sys;

/// Makes this process the server of a run; returns only if that fails.
///
/// It is started anew, since a user namespace is for processes with a single thread.
pub fn become_server(plan: &RunPlan) -> RunError {
    let plan = match written(plan) {
        Ok(plan) => plan,
        Err(error) => return error,
    };
    let program = "/proc/self/exe";
    let error = Command::new(program)
        .arg(SERVER_COMMAND)
        .arg(plan.as_raw_fd().to_string())
        .exec();
    failed("start", program)(error)
}

/// Returns a file without a name that the next program can read.
fn written(plan: &RunPlan) -> Result<File, RunError> {
    let json = serde_json::to_vec(plan).map_err(RunError::Plan)?;
    let file = memfd_create("plan", MemfdFlags::empty()).map_err(failed_call("make", "a plan"))?;
    let mut file = File::from(file);
    file.write_all(&json)
        .and_then(|()| file.rewind())
        .map_err(failed("write", "a plan"))?;
    Ok(file)
}

/// Is the whole life of the server; called first thing in `main`, with the number of the
/// descriptor of its plan. Returns the status of the command.
pub fn serve(plan: RawFd) -> Result<u8, RunError> {
    let mut plan = read_plan(plan)?;
    daemon::close_inherited().map_err(MountsError::from)?;
    let signals = Signals::catch()?;
    rustix::process::umask(Mode::empty());
    daemon::raise_descriptor_limit();
    plan.ids = plan.ids.enter(namespaces(plan.network))?;
    root::follow_outside()?;
    let owners = Arc::new(Owners::default());
    let Served { session, scratch } = Served::mount(&mut plan, &owners)?;
    let stop = session.stop_handle().map_err(MountsError::from)?;
    let serving = thread::spawn(move || session.serve());
    let status = match &plan.runtime {
        None => run_init(&plan, &signals, owners)?,
        Some(runtime) => {
            let bundle = Bundle::make(&plan)?;
            wait(&mut bundle.start(&plan, runtime)?, &signals, None)?
        }
    };
    if plan.writable == Writable::Kept {
        settle(&plan.mount.mountpoint, &stop, serving)?;
    }
    drop(scratch);
    Ok(status)
}

/// Runs the command in the care of an init of mica's own.
fn run_init(plan: &RunPlan, signals: &Signals, owners: Arc<Owners>) -> Result<u8, RunError> {
    let (mut child, socket) = keep_init(plan)?;
    let shown = if plan.terminal {
        Shown::receive(&socket)?
    } else {
        None
    };
    if let Some(listener) = receive(socket.as_fd()).map_err(failed_call("hear", "the init"))? {
        steward::start(listener, child.id(), owners)?;
    }
    drop(socket);
    wait(&mut child, signals, shown.as_ref())
}

fn read_plan(number: RawFd) -> Result<RunPlan, RunError> {
    let mut json = Vec::new();
    File::open(format!("/proc/self/fd/{number}"))
        .and_then(|mut file| file.read_to_end(&mut json))
        .map_err(failed("read", "the plan"))?;
    serde_json::from_slice(&json).map_err(RunError::Plan)
}

fn namespaces(network: Network) -> UnshareFlags {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    match network {
        Network::Host => flags,
        Network::None => flags | UnshareFlags::NEWNET,
    }
}

/// The view of a run, mounted where only its own processes see it.
#[derive(Debug)]
struct Served {
    session: Session,
    /// The directories of what is thrown away.
    scratch: Option<Staging>,
}

impl Served {
    /// Mounts the view that becomes the root, which notes the owners that cannot be shown.
    fn mount(plan: &mut RunPlan, owners: &Arc<Owners>) -> Result<Self, RunError> {
        let scratch = match plan.writable {
            Writable::Discarded => Some(make_scratch(plan)?),
            Writable::No | Writable::Kept => None,
        };
        let tree = mounts::open(&plan.mount)?;
        let is_single = matches!(plan.ids, Ids::Single { .. });
        let all_roots = || IdMap::default().squashed_to(0);
        let tree = tree.with_appearance(Appearance {
            ids: IdMaps {
                users: if is_single {
                    all_roots()
                } else {
                    IdMap::default()
                },
                groups: if is_single {
                    all_roots()
                } else {
                    IdMap::default()
                },
            },
            by_xattr: plan.ids.has_namespace(),
            owners: is_single.then(|| Arc::clone(owners)),
            ..Appearance::default()
        });
        let mut options = plan.mount.options();
        options.allow_other = true;
        options.suid = true;
        // Not even root inside is to reach the devices of this machine.
        options.dev = false;
        // They name users that there are none of.
        options.acl = !is_single;
        let session = Session::mount(Arc::new(tree), &plan.mount.mountpoint, &options)
            .map_err(MountsError::from)?;
        Ok(Self { session, scratch })
    }
}

/// Makes directories that take what is written until the end.
fn make_scratch(plan: &mut RunPlan) -> Result<Staging, RunError> {
    let store = Store::open(&plan.mount.store).map_err(MountsError::from)?;
    let scratch = Staging::directory(&store.tmp()).map_err(failed("create", store.tmp()))?;
    let (fs, work) = (scratch.path().join("fs"), scratch.path().join("work"));
    for path in [&fs, &work] {
        fs::create_dir(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
            .map_err(failed("create", path))?;
    }
    let xattrs = if plan.ids.has_namespace() {
        XattrMode::User
    } else {
        XattrMode::Trusted
    };
    plan.mount.upper = Some(UpperPlan {
        fs,
        work,
        xattrs,
        snapshot: None,
    });
    Ok(scratch)
}

/// Starts the first process inside on a thread of its own, which lives as long as this process:
/// one whose children are in another pid namespace can start no more threads, and the init dies
/// with the thread that started it.
fn keep_init(plan: &RunPlan) -> Result<(Child, UnixStream), RunError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let plan = plan.clone();
    thread::spawn(move || {
        let started = sys::unshare(UnshareFlags::NEWPID)
            .map_err(RunError::Restricted)
            .and_then(|()| start_init(&plan));
        // Nobody waits for it but the caller, which does.
        drop(sender.send(started));
        loop {
            thread::park();
        }
    });
    let lost = |_| failed_call("start", "the init")(Errno::IO);
    receiver.recv().map_err(lost)?
}

/// Starts the first process inside, which gets the plan by a socket.
fn start_init(plan: &RunPlan) -> Result<(Child, UnixStream), RunError> {
    let program = "/proc/self/exe";
    let (mut own, inits) = UnixStream::pair().map_err(failed("make", "a socket"))?;
    fcntl_setfd(&inits, FdFlags::empty()).map_err(failed_call("pass on", "a socket"))?;
    let child = Command::new(program)
        .arg(INIT_COMMAND)
        .arg(inits.as_raw_fd().to_string())
        .spawn()
        .map_err(failed("start", program))?;
    drop(inits);
    let json = serde_json::to_vec(plan).map_err(RunError::Plan)?;
    match own
        .write_all(&json)
        .and_then(|()| own.shutdown(Shutdown::Write))
    {
        // EPIPE, ENOTCONN: it has ended already, and its status says why.
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::NotConnected
            ) =>
        {
            Err(failed("write", "the plan")(error))
        }
        _ => Ok((child, own)),
    }
}

/// Waits for the end of the first process inside, and passes signals on to it.
fn wait(child: &mut Child, signals: &Signals, shown: Option<&Shown>) -> Result<u8, RunError> {
    let pid = Pid::from_child(child);
    loop {
        for signal in signals.wait()? {
            match signal {
                SIGCHLD => {
                    let ended = child.try_wait().map_err(failed("wait for", "the init"))?;
                    if let Some(status) = ended {
                        // Without a code it was killed, from outside.
                        let code = status.code().and_then(|code| u8::try_from(code).ok());
                        return Ok(code.unwrap_or(128 + 9));
                    }
                }
                SIGWINCH => shown.map_or(Ok(()), Shown::resize)?,
                _ => forward(pid, signal)?,
            }
        }
    }
}

fn forward(pid: Pid, signal: i32) -> Result<(), RunError> {
    let Some(signal) = Signal::from_named_raw(signal) else {
        return Ok(());
    };
    match kill_process(pid, signal) {
        // It is just ending.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(failed_call("signal", "the init")(errno)),
    }
}

/// Has the kernel write what it keeps for the upper, and takes the mount away.
fn settle(
    point: &Path,
    stop: &StopHandle,
    serving: JoinHandle<Result<(), MountError>>,
) -> Result<(), RunError> {
    rustix::fs::open(point, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::fs::syncfs)
        .map_err(failed_call("write back", point))?;
    stop.stop().map_err(failed_call("stop", point))?;
    match serving.join() {
        Ok(served) => Ok(served.map_err(MountsError::from)?),
        // A panic has been printed by its thread.
        Err(_) => Err(failed_call("serve", point)(Errno::IO)),
    }
}
