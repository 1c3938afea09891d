//! Layers to mount, and mounts that are gone at the end of a test, whatever happens.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mica_fuse::session::{
    Mount, MountError, MountOptions, Session, Statistics, StopHandle, Transport, mounts,
};
use mica_fuse::{
    Access, ActiveView, Builder, DirectoryLayer, Forest, Layer, PackedLayer, Tree, Upper,
    UpperOptions, View, ViewOptions,
};
use rustix::fs::SeekFrom;
use tempfile::TempDir;

use crate::transport::usual_transport;

/// Two directory layers in a temporary directory.
#[derive(Debug)]
pub(crate) struct Stage {
    root: Arc<TempDir>,
}

/// A mount that a thread serves.
pub(crate) struct Served {
    point: PathBuf,
    statistics: Arc<Statistics>,
    transport: Transport,
    stop: StopHandle,
    thread: Mutex<Option<JoinHandle<Result<(), MountError>>>>,
    _root: Option<Arc<TempDir>>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let root = TempDir::with_prefix("mica-mounted-").unwrap();
        make_layers(root.path());
        Self {
            root: Arc::new(root),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn point(&self) -> PathBuf {
        self.root().join("point")
    }

    pub(crate) fn view(&self, access: Access) -> Arc<Tree> {
        view_of(self.root(), access)
    }

    /// Returns the same layers below an upper of their own.
    pub(crate) fn active_view(&self) -> Arc<Tree> {
        Arc::new(self.active_tree("active"))
    }

    /// Returns the same layers below the upper of that name.
    pub(crate) fn active_tree(&self, name: &str) -> Tree {
        let paths = ["upper", "work"].map(|part| self.root().join(name).join(part));
        for path in &paths {
            fs::create_dir_all(path).unwrap();
        }
        let [upper, work] = &paths;
        let upper = Upper::open(upper, work, UpperOptions::default()).unwrap();
        let access = Access::Enforce;
        let active = ActiveView::open(layers_of(self.root()), upper, ViewOptions { access });
        active.unwrap().into()
    }

    /// Returns the same layers packed.
    pub(crate) fn packed_view(&self) -> Arc<Tree> {
        Arc::new(self.packed_tree())
    }

    pub(crate) fn packed_tree(&self) -> Tree {
        tree_of(["upper", "lower"].map(|name| pack(self.root(), name)))
    }

    pub(crate) fn serve_packed(&self) -> Served {
        let options = MountOptions::new("mica-test", Access::Enforce);
        Served::start_tree(self, self.packed_view(), &options)
    }

    pub(crate) fn serve(&self) -> Served {
        Served::start(
            self,
            &self.point(),
            &MountOptions::new("mica-test", Access::Enforce),
        )
    }

    /// Lets other users reach the mount point.
    pub(crate) fn open_to_all(&self) {
        fs::set_permissions(self.root(), Permissions::from_mode(0o755)).unwrap();
    }
}

impl Served {
    pub(crate) fn start(stage: &Stage, point: &Path, options: &MountOptions) -> Self {
        let tree = stage.view(options.access);
        Self::run(mount(tree, point, options), Some(Arc::clone(&stage.root)))
    }

    pub(crate) fn start_tree(stage: &Stage, tree: Arc<Tree>, options: &MountOptions) -> Self {
        let session = mount(tree, &stage.point(), options);
        Self::run(session, Some(Arc::clone(&stage.root)))
    }

    pub(crate) fn start_forest(stage: &Stage, forest: Arc<Forest>, options: &MountOptions) -> Self {
        let session = Session::mount(forest, &stage.point(), options).unwrap();
        Self::run(session, Some(Arc::clone(&stage.root)))
    }

    pub(crate) fn start_owner(root: &Path) -> Self {
        let options = MountOptions::new("mica-test", Access::Owner);
        let view = view_of(root, Access::Owner);
        Self::run(mount(view, &root.join("point"), &options), None)
    }

    fn run(session: Session, root: Option<Arc<TempDir>>) -> Self {
        let point = session.mountpoint().to_path_buf();
        let statistics = session.statistics();
        let transport = session.transport();
        let stop = session.stop_handle().unwrap();
        let thread = std::thread::spawn(move || session.serve());
        Self {
            point,
            statistics,
            transport,
            stop,
            thread: Mutex::new(Some(thread)),
            _root: root,
        }
    }

    /// Returns the mount as `/proc/self/mountinfo` has it.
    pub(crate) fn mount(&self) -> Mount {
        let mounts = mounts().unwrap();
        let found = mounts.into_iter().rfind(|mount| mount.point == self.point);
        found.unwrap()
    }

    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    pub(crate) fn stop(&self) {
        self.stop.stop().unwrap();
    }

    /// Returns the sorted names of a directory.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Returns whether the session ends in time, and without an error.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let thread = self.thread.lock().unwrap().take().unwrap();
        let start = Instant::now();
        while !thread.is_finished() {
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        thread.join().unwrap().unwrap();
        true
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop().ok();
        if let Ok(mut thread) = self.thread.lock()
            && let Some(thread) = thread.take()
        {
            drop(thread.join());
        }
    }
}

/// Mounts, by the usual transport if none is asked for.
fn mount(tree: Arc<Tree>, point: &Path, options: &MountOptions) -> Session {
    let mut options = options.clone();
    if options.transport == Transport::Auto {
        options.transport = usual_transport();
    }
    Session::mount(tree, point, &options).unwrap()
}

/// Makes `upper`, `lower` and `point` below `root`.
fn make_layers(root: &Path) {
    let (upper, lower) = (root.join("upper"), root.join("lower"));
    for directory in [upper.join("deep"), lower.join("deep"), lower.join("many")] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::create_dir(root.join("point")).unwrap();
    fs::create_dir(upper.join("empty")).unwrap();
    fs::write(upper.join("file"), "upper\n").unwrap();
    fs::write(lower.join("file"), "lower\n").unwrap();
    symlink("file", lower.join("link")).unwrap();
    fs::write(upper.join("deep/upper-only"), "").unwrap();
    fs::write(lower.join("deep/lower-only"), "").unwrap();
    fs::write(lower.join("big"), big_contents()).unwrap();
    for number in 0..3000 {
        fs::write(lower.join(format!("many/{number}")), "").unwrap();
    }
}

/// Returns what [`Stage::packed_view`] made below `root`.
pub(crate) fn packed_again(root: &Path) -> Arc<Tree> {
    Arc::new(tree_of(["upper", "lower"].map(|name| {
        let directory = File::open(root.join(format!("{name}.packed"))).unwrap();
        Layer::Packed(Arc::new(PackedLayer::open(directory.into(), name).unwrap()))
    })))
}

fn tree_of(layers: [Layer; 2]) -> Tree {
    let access = Access::Enforce;
    let view = View::open(layers.into(), ViewOptions { access });
    view.unwrap().into()
}

/// Packs the directory of that name into `<name>.packed`, unless that was done.
fn pack(root: &Path, name: &str) -> Layer {
    let path = root.join(format!("{name}.packed"));
    let is_new = !path.exists();
    fs::create_dir_all(&path).unwrap();
    let directory = File::open(&path).unwrap();
    if is_new {
        let tar = Command::new("tar")
            .args(["-cf", "-", "-C"])
            .arg(root.join(name))
            .arg(".")
            .output();
        let mut builder = Builder::new(directory.as_fd(), name).unwrap();
        builder.push(&tar.unwrap().stdout).unwrap();
        builder.finish().unwrap();
    }
    Layer::Packed(Arc::new(PackedLayer::open(directory.into(), name).unwrap()))
}

fn view_of(root: &Path, access: Access) -> Arc<Tree> {
    let view = View::open(layers_of(root), ViewOptions { access });
    Arc::new(view.unwrap().into())
}

fn layers_of(root: &Path) -> Vec<Layer> {
    let layer = |name| Layer::Directory(Arc::new(DirectoryLayer::open(&root.join(name)).unwrap()));
    vec![layer("upper"), layer("lower")]
}

/// Some bytes that differ at each offset of a page.
pub(crate) fn big_contents() -> Vec<u8> {
    (0..1_500_001_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0])
        .collect()
}

/// Returns names and cookies of a directory from a cookie on.
pub(crate) fn listing_from(directory: &File, cookie: u64) -> Vec<(Vec<u8>, u64)> {
    rustix::fs::seek(directory, SeekFrom::Start(cookie)).unwrap();
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = Vec::new();
    let mut raw = rustix::fs::RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry.unwrap();
        entries.push((
            entry.file_name().to_bytes().to_vec(),
            entry.next_entry_cookie(),
        ));
    }
    entries
}

/// Copies a file by way of a mapping: `cmp` and the linker read this way.
pub(crate) fn mapped_copy(path: &Path) -> Vec<u8> {
    let script = "import mmap,sys\nwith open(sys.argv[1],'rb') as f:\n \
                  m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ)\n sys.stdout.buffer.write(m[:])";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

pub(crate) fn mkfifo(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0)?)
}

/// Returns a command that runs as the user nobody.
pub(crate) fn as_nobody(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.uid(65534).gid(65534);
    command
}

/// Returns whether the threads of that name use next to no processor time by themselves.
pub(crate) fn is_idle(name: &str) -> bool {
    std::thread::sleep(Duration::from_millis(100));
    let before = thread_time(name);
    std::thread::sleep(Duration::from_millis(500));
    thread_time(name) - before <= 1
}

/// Returns the processor time of the threads of that name, in ticks.
fn thread_time(name: &str) -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let stats =
        threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    stats
        .filter(|stat| stat.contains(&format!("({name})")))
        .map(|stat| {
            let (_, fields) = stat.rsplit_once(')').unwrap();
            let time = |at| {
                fields
                    .split_ascii_whitespace()
                    .nth(at)
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            };
            time(11) + time(12)
        })
        .sum()
}

/// Runs the test `other_process` of this program under `launch`, on layers that nobody owns.
pub(crate) fn mount_in_another_process(why: &str, launch: impl Fn(&Path) -> Command) {
    let stage = Stage::new();
    stage.open_to_all();
    let program = stage.root().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions("/dev/fuse", Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::chown(stage.point(), Some(65534), Some(65534)).unwrap();
    let output = launch(&program)
        .args(["--exact", "other_process", "--nocapture"])
        .env("MICA_TEST_OTHER_PROCESS", stage.root())
        .current_dir("/")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{why}: {}",
        String::from_utf8_lossy(&text)
    );
}

/// Waits for a condition for five seconds at most.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
