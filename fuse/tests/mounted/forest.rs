//! Many trees in one mount, as the kernel sees them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mica_fuse::session::{CacheMode, MountOptions};
use mica_fuse::{Access, Catalog, Error, FileType, Forest, Item, Result, Tree};
use rustix::io::Errno;

use crate::stage::{Served, Stage, big_contents, eventually};

/// `trees/NAME` for each name, and `about`, which counts them.
#[derive(Clone, Debug)]
struct Trees {
    stage: Arc<Stage>,
    names: Arc<Mutex<Vec<String>>>,
    /// Trees that are open.
    open: Arc<AtomicUsize>,
}

/// Counts a tree until it is dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Trees {
    fn new(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            stage: Arc::new(Stage::new()),
            names: Arc::new(Mutex::new(names)),
            open: Arc::default(),
        }
    }

    fn serve(&self) -> (Served, Arc<Forest>) {
        let mut options = MountOptions::new("mica-test", Access::Enforce);
        options.writable = true;
        options.cache = CacheMode::best_for_process();
        let forest = Arc::new(Forest::new(self.clone()).resting());
        let served = Served::start_forest(&self.stage, Arc::clone(&forest), &options);
        (served, forest)
    }

    fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }

    fn set_names(&self, names: &[&str]) {
        *self.names.lock().unwrap() = names.iter().map(|name| (*name).to_owned()).collect();
    }
}

impl Catalog for Trees {
    fn item(&self, path: &[u8]) -> Result<Option<Item>> {
        let path = str::from_utf8(path).unwrap();
        Ok(match path.strip_prefix("trees/") {
            Some(name) => self
                .names()
                .iter()
                .any(|known| known == name)
                .then_some(Item::Tree),
            None if path == "trees" => Some(Item::Directory),
            None if path == "stored" => Some(Item::Stored {
                path: self.stage.root().join("lower/big"),
                size: big_contents().len() as u64,
            }),
            None if path == "about" => Some(Item::File(self.names().join(" ").into_bytes())),
            None => None,
        })
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileType)>> {
        if path.is_empty() {
            return Ok(vec![
                (b"trees".to_vec(), FileType::Directory),
                (b"about".to_vec(), FileType::Regular),
                (b"stored".to_vec(), FileType::Regular),
            ]);
        }
        let names = self.names().into_iter();
        Ok(names
            .map(|name| (name.into_bytes(), FileType::Directory))
            .collect())
    }

    fn open(&self, path: &[u8]) -> Result<Tree> {
        let path = str::from_utf8(path).unwrap();
        let tree = match path.strip_prefix("trees/") {
            Some("broken") => return Err(Error::Refused(Errno::IO)),
            Some(name) if name.starts_with("view") => self.stage.packed_tree(),
            Some(name) => self.stage.active_tree(name),
            None => return Err(Error::Refused(Errno::NOENT)),
        };
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(tree.holding(Counted(Arc::clone(&self.open))))
    }
}

#[test]
fn trees_are_read_and_written_side_by_side() {
    let trees = Trees::new(&["view", "one", "two"]);
    let (served, _forest) = trees.serve();
    assert_eq!(served.names("."), ["about", "stored", "trees"]);
    assert_eq!(served.names("trees"), ["one", "two", "view"]);
    for tree in ["trees/view", "trees/one", "trees/two"] {
        assert_eq!(
            served.names(tree),
            ["big", "deep", "empty", "file", "link", "many"]
        );
        assert_eq!(served.names(&format!("{tree}/many")).len(), 3000);
        assert_eq!(
            fs::read(served.path(tree).join("big")).unwrap(),
            big_contents()
        );
    }
    fs::write(served.path("trees/one/file"), "one\n").unwrap();
    fs::write(served.path("trees/two/new"), "two\n").unwrap();
    fs::remove_file(served.path("trees/two/file")).unwrap();
    assert_eq!(fs::read(served.path("trees/one/file")).unwrap(), b"one\n");
    assert_eq!(
        fs::read(served.path("trees/view/file")).unwrap(),
        b"upper\n"
    );
    assert!(!served.path("trees/one/new").exists());
    assert!(!served.path("trees/two/file").exists());
}

#[test]
fn a_read_only_tree_beside_a_writable_one_refuses_changes() {
    let trees = Trees::new(&["view", "one"]);
    let (served, _forest) = trees.serve();
    let view = served.path("trees/view");
    let errno = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
    assert_eq!(errno(fs::write(view.join("file"), "")), Some(libc::EROFS));
    assert_eq!(errno(fs::write(view.join("new"), "")), Some(libc::EROFS));
    assert_eq!(errno(fs::create_dir(view.join("new"))), Some(libc::EROFS));
    assert_eq!(
        errno(fs::remove_file(served.path("about"))),
        Some(libc::EROFS)
    );
    assert_eq!(
        errno(fs::create_dir(served.path("trees/x"))),
        Some(libc::EROFS)
    );
    let between = fs::hard_link(view.join("file"), served.path("trees/one/between"));
    assert_eq!(errno(between), Some(libc::EXDEV));
    fs::write(served.path("trees/one/new"), "still").unwrap();
    let mut file = File::open(view.join("big")).unwrap();
    file.sync_all().unwrap();
    let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap();
    assert_eq!(hole, big_contents().len() as u64);
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, big_contents());
}

#[test]
fn what_the_catalogue_says_is_seen_at_once() {
    let trees = Trees::new(&["view"]);
    let (served, _forest) = trees.serve();
    assert_eq!(fs::read(served.path("about")).unwrap(), b"view");
    let held = File::open(served.path("about")).unwrap();
    assert!(!served.path("trees/one").exists());
    trees.set_names(&["one", "two"]);
    assert_eq!(fs::read(served.path("about")).unwrap(), b"one two");
    let mut old = [0; 4];
    held.read_exact_at(&mut old, 0).unwrap();
    assert_eq!(&old, b"view", "an open file is one content");
    assert_eq!(served.names("trees"), ["one", "two"]);
    assert!(served.path("trees/one/file").exists());
    assert!(!served.path("trees/view").exists());
}

#[test]
fn a_tree_that_cannot_be_opened_is_an_error_and_no_absent_name() {
    let trees = Trees::new(&["broken"]);
    let (served, _forest) = trees.serve();
    for _ in 0..2 {
        let error = fs::metadata(served.path("trees/broken")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
}

#[test]
fn a_tree_goes_with_its_last_user() {
    let trees = Trees::new(&["one"]);
    let (served, forest) = trees.serve();
    let file = File::open(served.path("trees/one/file")).unwrap();
    assert_eq!(trees.open.load(Ordering::SeqCst), 1);
    assert!(!forest.uproot(b"trees/one"), "a file is open");
    drop(file);
    assert!(eventually(|| {
        forest.uproot(b"trees/one") && trees.open.load(Ordering::SeqCst) == 0
    }));
    fs::write(served.path("trees/one/file"), "again").unwrap();
    assert_eq!(trees.open.load(Ordering::SeqCst), 1);
}

#[test]
fn a_file_that_lies_elsewhere_is_read_there() {
    let trees = Trees::new(&[]);
    let (served, _forest) = trees.serve();
    let path = served.path("stored");
    assert_eq!(fs::read(&path).unwrap(), big_contents());
    let file = File::open(&path).unwrap();
    let mut end = [0; 100];
    let length = file.read_at(&mut end, 1_499_990).unwrap();
    assert_eq!(end[..length], big_contents()[1_499_990..]);
    let error = OpenOptions::new().write(true).open(&path).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
}

#[test]
fn a_tree_that_rests_is_closed_unless_somebody_uses_it() {
    let trees = Trees::new(&["one", "two", "view"]);
    let (served, forest) = trees.serve();
    let used = File::open(served.path("trees/one/file")).unwrap();
    served.names("trees/view");
    assert!(!served.path("trees/view/deep/absent").exists());
    fs::remove_file(served.path("trees/two/file")).unwrap();
    assert_eq!(trees.open.load(Ordering::SeqCst), 3);
    if !can_prune() {
        eprintln!("skipped: this kernel prunes nothing on demand");
        return;
    }
    let is_left = |count| {
        eventually(|| {
            forest.rest();
            trees.open.load(Ordering::SeqCst) == count
        })
    };
    assert!(is_left(1), "nobody uses the two others");
    let again = File::open(served.path("trees/one/file")).unwrap();
    assert_eq!(
        used.metadata().unwrap().ino(),
        again.metadata().unwrap().ino(),
        "it is the same tree"
    );
    drop((used, again));
    assert!(is_left(0));
}

/// Returns whether the kernel is Linux 6.18 or later.
fn can_prune() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6_u32), Some(18))
}

#[test]
fn a_frozen_tree_takes_no_changes() {
    let trees = Trees::new(&["one"]);
    let (served, forest) = trees.serve();
    let path = served.path("trees/one/file");
    fs::write(&path, "before").unwrap();
    forest.freeze(b"trees/one");
    let error = OpenOptions::new().append(true).open(&path).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    let error = fs::rename(&path, served.path("trees/one/other")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    assert_eq!(fs::read(&path).unwrap(), b"before");
}

#[test]
fn changes_in_a_tree_reach_the_kernel_under_its_own_numbers() {
    let trees = Trees::new(&["one", "two"]);
    let (served, _forest) = trees.serve();
    let [one, two] = ["one", "two"].map(|name| served.path("trees").join(name).join("file"));
    // A handle from before the copy-up reads what is written after it.
    let reader = File::open(&one).unwrap();
    let mut writer = OpenOptions::new().append(true).open(&one).unwrap();
    writer.write_all(b"more\n").unwrap();
    assert_eq!(whole(&reader), b"upper\nmore\n");
    assert_eq!(fs::metadata(&one).unwrap().size(), 11);
    assert_eq!(fs::read(&two).unwrap(), b"upper\n");
    let numbers = [&one, &two].map(|path| fs::metadata(path).unwrap().ino());
    assert_ne!(numbers[0], 0);
    assert_eq!(listed_ino(&one), numbers[0]);
    assert_eq!(listed_ino(&two), numbers[1]);
}

fn whole(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let length = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(length);
    bytes
}

/// Returns the inode number that the directory gives for a path.
fn listed_ino(path: &Path) -> u64 {
    use std::os::unix::fs::DirEntryExt as _;
    let mut entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let found = entries.find(|entry| entry.as_ref().unwrap().path() == path);
    found.unwrap().unwrap().ino()
}
