//! What holds whichever way requests come, and what happens to those under way when
//! somebody goes.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use mica_fuse::Access;
use mica_fuse::session::{CacheMode, MountOptions, Transport};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::stage::{self, Served, Stage, eventually};
use crate::transport::NAMES;

/// Whether mounts that are made from now on get rings; a parameter of the whole machine.
const PARAMETER: &str = "/sys/module/fuse/parameters/enable_uring";

/// Held by tests that rely on [`PARAMETER`].
static SWITCH: Mutex<()> = Mutex::new(());

fn has_rings() -> bool {
    fs::read_to_string(PARAMETER).is_ok_and(|value| value.trim() == "Y")
}

/// Calls `check` for each transport that this machine has.
fn with_each(check: impl Fn(&str, Transport)) {
    let _switch = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, transport) in NAMES {
        if transport != Transport::Ring || has_rings() {
            check(name, transport);
        }
    }
}

fn by(transport: Transport) -> MountOptions {
    MountOptions {
        transport,
        writable: true,
        ..MountOptions::new("mica-test", Access::Enforce)
    }
}

#[test]
fn each_is_what_was_asked_for_and_shows_the_same() {
    with_each(|name, transport| {
        let stage = Stage::new();
        for (kind, tree) in [
            ("packed", stage.packed_view()),
            ("active", stage.active_view()),
        ] {
            let served = Served::start_tree(&stage, tree, &by(transport));
            assert_eq!(served.transport(), transport, "{name}");
            assert_eq!(served.names("many").len(), 3000, "{name}, {kind}");
            let big = served.path("big");
            assert_eq!(
                fs::read(&big).unwrap(),
                stage::big_contents(),
                "{name}, {kind}"
            );
            assert_eq!(
                stage::mapped_copy(&big),
                stage::big_contents(),
                "{name}, {kind}"
            );
            assert_eq!(
                fs::read_link(served.path("link")).unwrap(),
                Path::new("file")
            );
            assert!(fs::metadata(served.path("absent")).is_err());
        }
    });
}

#[test]
fn large_and_small_writes_arrive_by_each() {
    with_each(|name, transport| {
        let stage = Stage::new();
        let served = Served::start_tree(&stage, stage.active_view(), &by(transport));
        for length in [0_usize, 1, 4095, 4097, 1_048_576, 3_000_001] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect();
            let path = served.path("deep").join(format!("of {length}"));
            let mut file = File::options()
                .create_new(true)
                .read(true)
                .write(true)
                .open(&path);
            let file = file.as_mut().unwrap();
            file.write_all(&bytes).unwrap();
            file.sync_all().unwrap();
            file.rewind().unwrap();
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{name}, {length} bytes");
            file.write_all_at(b"!", length as u64 + 100_000).unwrap();
            assert_eq!(
                file.metadata().unwrap().len(),
                length as u64 + 100_001,
                "{name}"
            );
        }
    });
}

#[test]
fn none_uses_the_processor_while_nothing_is_asked() {
    with_each(|name, _| {
        stage::mount_in_another_process(name, |program| {
            let mut command = Command::new(program);
            command.env("MICA_TEST_TRANSPORT", name);
            command
        });
    });
}

#[test]
fn rings_that_are_switched_off_stay_where_they_are_and_new_mounts_do_without() {
    let _switch = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
    if !has_rings() {
        let stage = Stage::new();
        let served = Served::start_tree(&stage, stage.active_view(), &by(Transport::Ring));
        assert_eq!(served.transport(), Transport::Poll, "of what there is");
        assert_eq!(served.names("many").len(), 3000);
        return;
    }
    let stages = [Stage::new(), Stage::new()];
    let [before, after] = &stages;
    let before = Served::start_tree(before, before.active_view(), &by(Transport::Ring));
    assert_eq!(before.names("deep").len(), 2);
    fs::write(PARAMETER, "N").unwrap();
    let after = Served::start_tree(after, after.active_view(), &by(Transport::Ring));
    fs::write(PARAMETER, "Y").unwrap();
    assert_eq!(before.transport(), Transport::Ring);
    assert_eq!(after.transport(), Transport::Poll);
    for served in [before, after] {
        assert_eq!(served.names("many").len(), 3000);
        fs::write(served.path("new"), "new").unwrap();
        assert_eq!(fs::read(served.path("new")).unwrap(), b"new");
    }
}

/// The kernel closes files that a program is not to inherit when it is about to run it, and
/// lets nobody look at the process meanwhile.
#[test]
fn a_caller_that_runs_another_program_is_answered() {
    for transport in [Transport::Poll, Transport::Block] {
        let stage = Stage::new();
        let options = MountOptions {
            cache: CacheMode::Writeback,
            ..by(transport)
        };
        let served = Served::start_tree(&stage, stage.active_view(), &options);
        let (report, reports) = mpsc::channel();
        let deep = served.path("deep");
        std::thread::spawn(move || {
            for round in 0..20 {
                let files: Vec<_> = (0..200)
                    .map(|number| {
                        let mut file = File::create(deep.join(number.to_string())).unwrap();
                        file.write_all(b"not written back").unwrap();
                        file
                    })
                    .collect();
                let ran = Command::new("true").status();
                drop(files);
                report.send((round, ran.unwrap().success())).unwrap();
            }
        });
        for round in 0..20 {
            let told = reports.recv_timeout(Duration::from_secs(20));
            assert_eq!(told, Ok((round, true)), "{transport:?}");
        }
    }
}

/// What a client does until it is killed, in `sh`; `$1` is a directory of its own.
const CLIENTS: [&str; 6] = [
    "while :; do echo 1 >$1/a; cat $1/a; mv $1/a $1/b; ln $1/b $1/c; rm $1/b $1/c; done",
    "while :; do mkdir $1/d; ln -s x $1/d/l; readlink $1/d/l; rm $1/d/l; rmdir $1/d; done",
    "while :; do find $1/../many -size +1; ls -la $1/../deep; done",
    "while :; do dd if=/dev/zero of=$1/z bs=1M count=3 conv=fsync; cat $1/z; done",
    "while :; do cat $1/../big; head -c 100 $1/../file; stat $1/absent.$RANDOM; done",
    "while :; do cp $1/../big $1/copy; truncate -s 7 $1/copy; chmod 600 $1/copy; sync $1; done",
];

fn client(script: &str, directory: &Path) -> Child {
    let mut command = Command::new("bash");
    command.args(["-c", script, "client"]).arg(directory);
    let quiet = std::process::Stdio::null;
    command.stdout(quiet()).stderr(quiet());
    command.process_group(0).spawn().unwrap()
}

/// Sends a signal to a client and all that it started.
fn signal(client: &Child, signal: Signal) {
    kill_process_group(Pid::from_child(client), signal).unwrap();
}

fn directory_of(served: &Served, number: usize) -> PathBuf {
    let directory = served.path(&format!("client{number}"));
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn clients_that_are_killed_leave_the_others_what_they_had() {
    let kills = std::env::var("MICA_TEST_KILLS").map_or(30, |count| count.parse().unwrap());
    with_each(|name, transport| {
        let stage = Stage::new();
        let served = Served::start_tree(&stage, stage.active_view(), &by(transport));
        let witness = served.path("witness");
        fs::write(&witness, stage::big_contents()).unwrap();
        for kill in 0..kills {
            let number = kill % CLIENTS.len();
            let mut client = client(CLIENTS[number], &directory_of(&served, number));
            // Anything between a start and some rounds, each time another.
            let until =
                Instant::now() + Duration::from_micros(2_000 + kill as u64 * 7_919 % 20_000);
            while Instant::now() < until {
                assert_eq!(fs::metadata(&witness).unwrap().len(), 1_500_001, "{name}");
            }
            client.kill().unwrap();
            client.wait().unwrap();
        }
        assert!(
            fs::read(&witness).unwrap() == stage::big_contents(),
            "{name}"
        );
        assert_eq!(served.names("many").len(), 3000, "{name}");
        for number in 0..CLIENTS.len() {
            fs::remove_dir_all(directory_of(&served, number)).unwrap();
        }
    });
}

/// Whoever is stopped takes no answer, and lets none go either.
#[test]
fn clients_that_are_stopped_keep_neither_others_nor_the_end_waiting() {
    with_each(|name, transport| {
        let stage = Stage::new();
        let served = Served::start_tree(&stage, stage.active_view(), &by(transport));
        let start = |number| {
            client(
                CLIENTS[number % CLIENTS.len()],
                &directory_of(&served, number),
            )
        };
        let mut clients: Vec<Child> = (0..4 * CLIENTS.len()).map(start).collect();
        let before = served.statistics().total();
        assert!(
            eventually(|| served.statistics().total() > before + 500),
            "{name}: no storm"
        );
        for client in &clients {
            signal(client, Signal::STOP);
        }
        let witness = served.path("witness");
        fs::write(&witness, stage::big_contents()).unwrap();
        assert!(
            fs::read(&witness).unwrap() == stage::big_contents(),
            "{name}"
        );
        assert_eq!(served.names("many").len(), 3000, "{name}");
        served.stop();
        assert!(
            served.ends_within(Duration::from_secs(20)),
            "{name}: it serves on"
        );
        for client in &mut clients {
            signal(client, Signal::KILL);
            client.wait().unwrap();
        }
    });
}

#[test]
fn a_mount_goes_from_under_a_storm_and_the_storm_ends() {
    with_each(|name, transport| {
        let stage = Stage::new();
        let served = Served::start_tree(&stage, stage.active_view(), &by(transport));
        let mut clients: Vec<Child> = CLIENTS
            .iter()
            .enumerate()
            .map(|(number, script)| client(script, &directory_of(&served, number)))
            .collect();
        let before = served.statistics().total();
        assert!(
            eventually(|| served.statistics().total() > before + 500),
            "{name}: no storm"
        );
        served.stop();
        assert!(
            served.ends_within(Duration::from_secs(20)),
            "{name}: it serves on"
        );
        for client in &mut clients {
            client.kill().unwrap();
            client.wait().unwrap();
        }
    });
}
