//! The contracts of containerd's snapshotters and content stores, case by case as its own suites
//! have them, each over the socket of a server and in memory.
//!
//! The program serves the views of the stores that it has in memory, so it has no test
//! harness: started with the hidden command it is the serving process.
#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

#[path = "../support/client.rs"]
mod client;
mod content;
mod killed;
mod layers;
#[path = "../api/server.rs"]
#[expect(dead_code, reason = "the tests of the server use the rest")]
mod server;
mod snapshots;
mod stage;
mod tree;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use stage::{Stage, Transport};

/// What a case does, step by step.
type Steps<'s> = Pin<Box<dyn Future<Output = ()> + 's>>;

/// A case, by its name.
type Case = (&'static str, fn(&mut Stage) -> Steps<'_>);

/// Makes a table of cases from the functions of a module.
macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        [$((
            concat!(stringify!($module), "::", stringify!($case)),
            |stage: &mut Stage| -> Steps<'_> { Box::pin($module::$case(stage)) },
        )),*]
    };
}

const CASES: [Case; 37] = cases![
    snapshots::basic,
    snapshots::stat_active,
    snapshots::stat_committed,
    snapshots::transitivity,
    snapshots::prepare_view_failing,
    snapshots::update,
    snapshots::remove,
    snapshots::walk,
    layers::layer_file_update,
    layers::remove_directory_in_lower_layer,
    layers::chown,
    layers::directory_permission_on_commit,
    snapshots::remove_intermediate_snapshot,
    layers::deleted_files_in_child_snapshot,
    layers::move_file_from_lower_layer,
    snapshots::view_readonly,
    snapshots::stat_in_walk,
    snapshots::close_twice,
    layers::root_permission,
    layers::rename,
    layers::mount_of_128_layers,
    content::writer,
    content::update_status,
    content::commit_exists,
    content::resume,
    content::resume_truncate,
    content::resume_discard,
    content::resume_copy,
    content::resume_copy_seeker,
    content::resume_copy_reader_at,
    content::small_blob,
    content::labels_of_blobs,
    content::commit_error_state,
    content::cross_namespace_append,
    content::cross_namespace_share,
    content::cross_namespace_isolate,
    content::shared_namespace_isolate,
];

/// What only a server has to bear.
const OF_A_SERVER: [Case; 3] = cases![
    killed::in_mid_write,
    killed::in_mid_apply,
    killed::in_mid_list,
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(mica::views::SERVE_COMMAND) {
        let store = arguments.next().unwrap_or_default();
        return match mica::views::serve_child(Path::new(&store)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if first.as_deref() == Some(killed::COMMAND) {
        let [socket, what, blob] = [(); 3].map(|()| arguments.next().unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(killed::act(&socket, &what, &blob));
        return ExitCode::SUCCESS;
    }
    let filter = first.filter(|first| !first.starts_with('-'));
    let filter = filter.as_deref().unwrap_or_default();
    let transports = [Transport::Socket, Transport::Memory];
    let have_passed = std::thread::scope(|scope| {
        let runs = transports.map(|transport| scope.spawn(move || have_passed(transport, filter)));
        runs.map(|run| run.join().unwrap())
    });
    if have_passed == [true; 2] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the cases whose names have a text in them; returns whether all have passed.
fn have_passed(transport: Transport, filter: &str) -> bool {
    let mut have_passed = true;
    let more = match transport {
        Transport::Socket => &OF_A_SERVER[..],
        Transport::Memory => &[],
    };
    for (name, case) in CASES.iter().chain(more) {
        if !name.contains(filter) {
            continue;
        }
        let start = Instant::now();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let run = || {
            runtime.block_on(async {
                let mut stage = Stage::new(transport).await;
                case(&mut stage).await;
            });
        };
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        have_passed &= outcome.is_ok();
        let took = start.elapsed().as_millis();
        eprintln!("test {transport:?}::{name} ... {word}, {took} ms");
    }
    have_passed
}
