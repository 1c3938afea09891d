//! A mount whose serving process is killed again and again under load, with a holder of
//! its descriptor in place.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mica_fuse::Access;
use mica_fuse::session::{Busy, Handover, MountError, MountOptions, Session, unmount};
use rustix::fs::{Advice, fadvise};
use rustix::mount::UnmountFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::stage::{self, Stage, eventually};
use crate::transport::usual_transport;

/// Clients that use the mount meanwhile.
const CLIENTS: u64 = 8;

/// Names the directory of the layers to the process that serves.
const LAYERS: &str = "MICA_TEST_TAKE_OVER";

fn options() -> MountOptions {
    MountOptions {
        held: true,
        transport: usual_transport(),
        ..MountOptions::new("mica-test", Access::Enforce)
    }
}

/// A process that serves, killed when this is dropped.
struct Server(Child);

impl Server {
    fn start(layers: &Path, handover: &Handover) -> Self {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "takeover::serving_process", "--nocapture"])
            .env(LAYERS, layers)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        handover.send(OwnedFd::as_fd(&ours)).unwrap();
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The process that serves; on its own it has nothing to do.
#[test]
fn serving_process() {
    let Some(layers) = std::env::var_os(LAYERS) else {
        return;
    };
    let handover = Handover::receive(io::stdin().as_fd()).unwrap();
    let tree = stage::packed_again(Path::new(&layers));
    let session = Session::take_over(tree, handover, &options()).unwrap();
    session.serve().unwrap();
}

/// What the clients have in common.
struct Load<'l> {
    point: &'l Path,
    contents: Vec<u8>,
    is_over: AtomicBool,
    rounds: AtomicU64,
}

impl Load<'_> {
    /// Asks in ways that the kernel cannot answer by itself, and checks each answer.
    fn run(&self, client: u64) {
        let mut round = client;
        while !self.is_over.load(Ordering::Relaxed) {
            round += CLIENTS;
            let absent = fs::metadata(self.point.join(format!("absent.{round}")));
            assert_eq!(absent.unwrap_err().kind(), io::ErrorKind::NotFound);
            let big = File::open(self.point.join("big")).unwrap();
            fadvise(&big, 0, None, Advice::DontNeed).unwrap();
            let offset = round.wrapping_mul(2_654_435_761) % 1_500_001;
            let mut piece = vec![0; 20_000];
            let length = big.read_at(&mut piece, offset).unwrap();
            let expected = &self.contents[usize::try_from(offset).unwrap()..];
            assert!(length == expected.len().min(piece.len()), "{length} bytes");
            assert!(piece[..length] == expected[..length], "wrong bytes");
            let number = round % 3000;
            let path = self.point.join(format!("many/{number}"));
            assert_eq!(fs::read(path).unwrap(), b"");
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until every client has had answers, most probably.
    fn goes_on(&self) -> bool {
        let before = self.rounds.load(Ordering::Relaxed);
        eventually(|| self.rounds.load(Ordering::Relaxed) > before + 2 * CLIENTS)
    }
}

/// Ends the clients, those of a test that failed too: nobody may be left to answer them.
struct Over<'l>(&'l AtomicBool, &'l Path);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
            rustix::mount::unmount(self.1, flags).ok();
        }
    }
}

#[test]
fn nobody_notices_that_the_serving_process_is_killed() {
    let kills = std::env::var("MICA_TEST_TAKEOVERS").map_or(20, |count| count.parse().unwrap());
    let stage = Stage::new();
    let session = Session::mount(stage.packed_view(), &stage.point(), &options()).unwrap();
    let handover = session.handover().unwrap();
    let point = session.mountpoint().to_path_buf();
    // As if this process had been killed before it served anything.
    std::mem::forget(session);
    let _mount = Unmounted(&point);
    let load = Load {
        point: &point,
        contents: stage::big_contents(),
        is_over: AtomicBool::new(false),
        rounds: AtomicU64::new(0),
    };
    let mut server = std::thread::scope(|scope| {
        let mut server = Server::start(stage.root(), &handover);
        let over = Over(&load.is_over, &point);
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.run(client));
        }
        for kill in 0..kills {
            assert!(load.goes_on(), "nothing is answered after {kill} kills");
            // In the midst of something, each time of something else.
            let until = Instant::now() + Duration::from_micros(kill * 7_919 % 5_000);
            while Instant::now() < until {
                std::thread::yield_now();
            }
            drop(server);
            server = Server::start(stage.root(), &handover);
        }
        assert!(load.goes_on(), "nothing is answered in the end");
        drop(over);
        server
    });
    unmount(&point, Busy::Refuse).unwrap();
    assert!(
        eventually(|| server.0.try_wait().unwrap().is_some()),
        "it serves on"
    );
    assert!(server.0.wait().unwrap().success());
}

/// Takes a mount away at the end of a test that failed.
struct Unmounted<'p>(&'p Path);

impl Drop for Unmounted<'_> {
    fn drop(&mut self) {
        drop(unmount(self.0, Busy::Detach));
    }
}

#[test]
fn what_a_process_would_take_with_it_is_not_handed_over() {
    let stage = Stage::new();
    let cases = [
        ("not made to be held", stage.packed_view(), false),
        ("directory layers", stage.view(Access::Enforce), true),
        ("an upper", stage.active_view(), true),
    ];
    for (why, tree, held) in cases {
        let mount = MountOptions { held, ..options() };
        let session = Session::mount(tree, &stage.point(), &mount).unwrap();
        let refused = session.handover().unwrap_err();
        assert!(
            matches!(refused, MountError::NotTransferable { .. }),
            "{why}: {refused}"
        );
    }
}
