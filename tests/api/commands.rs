//! Commands with a server and without: the same output, the same errors with the same hints,
//! the same exit status. Only where the calls go is another.

use std::path::Path;
use std::process::Command;

use regex::Regex;
use tempfile::TempDir;

use crate::layout::{Layout, tar_of};
use crate::server::{Server, program};

/// What a command must say, on either stream, and the status that it ends with.
type Case<'c> = (&'c str, &'c str, i32);

/// What a command has said and done.
#[derive(Debug, PartialEq)]
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Where one store is, and who answers for it.
struct Place {
    store: std::path::PathBuf,
    is_served: bool,
}

impl Place {
    /// Runs the words of a command, and sees where its calls go.
    fn run(&self, command: &str) -> Ran {
        let output = Command::new(program())
            .args(["--debug", "--root"])
            .arg(&self.store)
            .args(command.split_whitespace())
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let (told, errors): (Vec<&str>, Vec<&str>) =
            said.lines().partition(|line| line.contains("DEBUG"));
        let is_asked = told.iter().any(|line| line.ends_with(" answers"));
        assert_eq!(is_asked, self.is_served, "{command}: {said}");
        Ran {
            status: output.status.code(),
            stdout: self.alike(&String::from_utf8(output.stdout).unwrap()),
            stderr: self.alike(&errors.join("\n")),
        }
    }

    /// Returns a text without what differs between two stores that are the same.
    fn alike(&self, text: &str) -> String {
        let store = self.store.canonicalize().unwrap();
        let text = text.replace(store.to_str().unwrap(), "STORE");
        let time = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap();
        time.replace_all(&text, "TIME").into_owned()
    }
}

/// Runs the cases in their order in a store that is served and in one that is not.
fn same(layout: &Layout, cases: &[Case<'_>]) {
    let server = Server::start();
    let directory = TempDir::with_prefix("mica-api-").unwrap();
    let places = [
        Place {
            store: server.store(),
            is_served: true,
        },
        Place {
            store: directory.path().join("store"),
            is_served: false,
        },
    ];
    for place in &places {
        pull(&place.store, layout);
    }
    for (command, expected, status) in cases {
        let [by_server, own] = places.each_ref().map(|place| place.run(command));
        assert_eq!(by_server, own, "{command}");
        assert_eq!(own.status, Some(*status), "{command}: {own:?}");
        let said = format!("{}{}", own.stdout, own.stderr);
        assert!(said.contains(expected), "{command}: {said}");
    }
}

fn pull(store: &Path, layout: &Layout) {
    let pulled = Command::new(program())
        .arg("--root")
        .arg(store)
        .args(["pull", "--quiet", &layout.source()])
        .output()
        .unwrap();
    assert!(pulled.status.success(), "{pulled:?}");
}

fn layout() -> Layout {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("file", b"contents")]));
    layout.finish();
    layout
}

#[test]
fn of_images_and_garbage() {
    let layout = layout();
    let digest = layout.target().digest.to_string();
    let label = format!("image label {digest} a=b c=");
    let remove = format!("image rm --target sha256:{} own:1", "0".repeat(64));
    let why = format!("gc --why {digest}");
    let named = format!("image tag {digest} own:1");
    same(
        &layout,
        &[
            ("images", &digest, 0),
            ("images -q", "", 0),
            ("--json images", &digest, 0),
            ("-n other images", "NAME", 0),
            ("images name==", "filter", 1),
            (&named, "docker.io/library/own:1", 0),
            (
                &named,
                "hint: `mica image tag --force` takes the name away",
                1,
            ),
            ("image tag none other:1", "hint: `mica images` lists", 1),
            ("image tag own:1 UPPER", "caused by: ", 1),
            ("image tag --force own:1 own:1", "own:1", 0),
            (&label, "a=b", 0),
            ("image label none a=b", "hint: `mica images` lists", 1),
            ("image check", "complete", 0),
            ("--json image check name~=own", "required", 0),
            ("images labels.a==b", &digest, 0),
            (&remove, "has target", 1),
            ("image rm none", "hint: `mica images` lists", 1),
            ("gc --dry-run", "would free", 0),
            ("--json gc --dry-run", "\"live\"", 0),
            (&why, "lives:", 0),
            ("gc --why nothing-of-that-name", "nothing in the store", 1),
            ("image rm own:1", "removed docker.io/library/own:1", 0),
            ("gc", "freed", 0),
            ("umount /nothing/is/mounted", "error: ", 1),
            ("--json gc", "\"is_deferred\": false", 0),
        ],
    );
}

#[test]
fn of_snapshots() {
    let layout = layout();
    let digest = layout.target().digest.to_string();
    let prepare = format!("snapshot prepare work {digest} --label a=b");
    let view = format!("snapshot view seen {digest}");
    same(
        &layout,
        &[
            (&prepare, "work", 0),
            (&prepare, "hint: `mica snapshot rm` removes it", 1),
            (
                "snapshot prepare x none",
                "hint: `mica snapshot ls` lists",
                1,
            ),
            (
                "snapshot prepare x work",
                "hint: only a committed snapshot",
                1,
            ),
            (&view, "seen", 0),
            ("snapshot prepare empty", "empty", 0),
            ("snapshot ls", "work", 0),
            ("--json snapshot ls kind==active", "\"labels\"", 0),
            ("snapshot ls kind==", "filter", 1),
            ("snapshot info work", "a=b", 0),
            ("--json snapshot info work", "\"id\": ", 0),
            ("snapshot info none", "hint: `mica snapshot ls` lists", 1),
            ("snapshot label work c=d a=", "c=d", 0),
            ("--json snapshot label work c=e", "\"c\": \"e\"", 0),
            (
                "snapshot label none a=b",
                "hint: `mica snapshot ls` lists",
                1,
            ),
            ("snapshot usage", "seen", 0),
            ("snapshot usage work", "work", 0),
            (
                "--json snapshot usage none",
                "hint: `mica snapshot ls` lists",
                1,
            ),
            ("snapshot mounts work", "packed layer", 0),
            ("--json snapshot mounts seen", "\"layers\"", 0),
            ("--json snapshot mounts empty", "\"upper\"", 0),
            ("snapshot commit mine seen", "hint: make a writable one", 1),
            ("snapshot commit mine work", "mine", 0),
            ("snapshot mounts mine", "error: ", 1),
            ("snapshot prepare above mine", "above", 0),
            ("snapshot tree", "└─ above (active)", 0),
            ("snapshot rm mine", "hint: `mica snapshot tree` shows", 1),
            ("snapshot rm above mine seen", "removed seen", 0),
            ("snapshot rm none", "hint: `mica snapshot ls` lists", 1),
        ],
    );
}

#[test]
fn of_blobs() {
    let layout = layout();
    let digest = layout.target().digest.to_string();
    let none = format!("sha256:{}", "0".repeat(64));
    let of = |command: &str, digest: &str| command.replace("DIGEST", digest);
    let (info, no_info) = (
        of("content info DIGEST", &digest),
        of("content info DIGEST", &none),
    );
    let json = of("--json content info DIGEST", &digest);
    let label = of("content label DIGEST a=b", &digest);
    let no_label = of("content label DIGEST a=b", &none);
    let (remove, again) = (
        of("content rm DIGEST", &digest),
        of("content rm DIGEST", &none),
    );
    same(
        &layout,
        &[
            ("content ls", &digest, 0),
            ("--json content ls size==0", "[]", 0),
            ("content ls size==", "filter", 1),
            (&info, "labels:", 0),
            (&json, "\"digest\"", 0),
            (&no_info, "hint: `mica content ls` lists", 1),
            (&label, "a=b", 0),
            (&no_label, "hint: `mica content ls` lists", 1),
            ("content active", "REF", 0),
            ("content abort none", "hint: `mica content active`", 1),
            (&remove, "removed", 0),
            (&again, "hint: `mica content ls` lists", 1),
        ],
    );
}

#[test]
fn of_leases_and_namespaces() {
    let layout = layout();
    let digest = layout.target().digest.to_string();
    let add = format!("lease add mine content {digest}");
    let drop = format!("lease drop mine content {digest}");
    same(
        &layout,
        &[
            ("lease create --id mine --expires 0s a=b", "mine", 0),
            ("lease create --id mine", "already exists", 1),
            (&add, "", 0),
            ("lease add none images x", "hint: `mica lease ls`", 1),
            ("lease add mine others x", "hint: types are", 1),
            ("lease resources mine", &digest, 0),
            ("lease resources none", "hint: `mica lease ls`", 1),
            ("lease ls", "mine", 0),
            ("--json lease ls id==mine", &digest, 0),
            (&drop, "", 0),
            ("lease rm mine", "removed mine", 0),
            ("lease rm mine", "hint: `mica lease ls`", 1),
            ("namespace ls", "default", 0),
            ("namespace create one a=b", "a=b", 0),
            ("namespace create one", "already exists", 1),
            ("--json namespace label one c=d", "\"c\": \"d\"", 0),
            ("namespace label two c=d", "error: ", 1),
            ("namespace ls name==one labels.x", "one", 0),
            ("namespace policy", "shared", 0),
            ("--json namespace policy isolated", "isolated", 0),
            ("namespace rm default", "error: ", 1),
            ("namespace rm one", "removed one", 0),
        ],
    );
}
