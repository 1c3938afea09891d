//! Damage in a store whose images came from a registry: what is lost is fetched again from there, by
//! `mica check --repair` and by the next pull.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use mica::oci::Digest;

use crate::layout::{Layout, noise, tar_of};
use crate::program::Mica;
use crate::remote::Hub;

/// A store with an image of two layers from a registry.
struct Fetched {
    layout: Layout,
    hub: Hub,
    mica: Mica,
}

impl Fetched {
    fn new() -> Self {
        let mut layout = Layout::new();
        layout.add_tar(&tar_of(&[("a", &noise(1, 50_000))]));
        layout.add_tar(&tar_of(&[("b", &noise(2, 50_000))]));
        layout.finish();
        let (hub, mica) = (Hub::with(&layout), Mica::new());
        mica.ok(["pull", "-q", &hub.name]);
        Self { layout, hub, mica }
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let blobs = self.mica.root().join("content/blobs/sha256");
        blobs.join(digest.hex())
    }

    fn layer(&self) -> PathBuf {
        let layers = self.mica.root().join("layers/sha256");
        layers.join(self.layout.diff_ids[0].hex())
    }

    fn manifest(&self) -> Digest {
        self.layout.target().digest
    }

    fn layer_blob(&self) -> Digest {
        self.layout.layers[0].digest.clone()
    }
}

/// A kind of damage: why, what is done, which blob has to be fetched again for it, and whether the
/// next pull sees it without reading everything.
type Damage = (
    &'static str,
    fn(&Fetched),
    fn(&Fetched) -> Option<Digest>,
    bool,
);

const DAMAGES: [Damage; 10] = [
    (
        "a layer's blob is missing",
        |s| fs::remove_file(s.blob(&s.layer_blob())).unwrap(),
        |s| Some(s.layer_blob()),
        true,
    ),
    (
        "a layer's blob is cut short",
        |s| cut(&s.blob(&s.layer_blob())),
        |s| Some(s.layer_blob()),
        true,
    ),
    (
        "a layer's blob has other bytes",
        |s| spoil(&s.blob(&s.layer_blob())),
        |s| Some(s.layer_blob()),
        false,
    ),
    (
        "the manifest is missing",
        |s| fs::remove_file(s.blob(&s.manifest())).unwrap(),
        |s| Some(s.manifest()),
        true,
    ),
    (
        "the manifest has other bytes",
        |s| spoil(&s.blob(&s.manifest())),
        |s| Some(s.manifest()),
        true,
    ),
    (
        "the config is missing",
        |s| fs::remove_file(s.blob(&s.layout.config())).unwrap(),
        |s| Some(s.layout.config()),
        true,
    ),
    (
        "a layer is missing",
        |s| fs::remove_dir_all(s.layer()).unwrap(),
        |_| None,
        true,
    ),
    (
        "a layer is missing, and its blob has other bytes",
        |s| {
            fs::remove_dir_all(s.layer()).unwrap();
            spoil(&s.blob(&s.layer_blob()));
        },
        |s| Some(s.layer_blob()),
        true,
    ),
    (
        "the data of a layer are cut short, and its blob is missing",
        |s| {
            cut(&s.layer().join("data"));
            fs::remove_file(s.blob(&s.layer_blob())).unwrap();
        },
        |s| Some(s.layer_blob()),
        true,
    ),
    (
        "the data of a layer are others",
        |s| spoil(&s.layer().join("data")),
        |_| None,
        false,
    ),
];

fn spoil(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// Damages a store, and looks whether a command makes it whole with what the registry has.
fn assert_healed_by(command: fn(&Fetched), is_seen: fn(&Damage) -> bool) {
    for damage in DAMAGES.iter().filter(|damage| is_seen(damage)) {
        let (why, spoil, lost, _) = damage;
        let store = Fetched::new();
        spoil(&store);
        assert!(!store.mica.run(["check"]).status.success(), "{why}");
        let fetched = |store: &Fetched| lost(store).map(|digest| store.hub.gets(&digest));
        let before = fetched(&store);
        command(&store);
        let found = store.mica.ok(["check"]);
        assert!(found.ends_with("0 damaged, 0 orphaned\n"), "{why}: {found}");
        assert_eq!(fetched(&store), before.map(|count| count + 1), "{why}");
    }
}

#[test]
fn a_repair_fetches_what_is_lost() {
    assert_healed_by(|store| drop(store.mica.ok(["check", "--repair"])), |_| true);
}

#[test]
fn a_pull_fetches_what_is_lost() {
    let pull = |store: &Fetched| drop(store.mica.ok(["pull", "-q", &store.hub.name]));
    assert_healed_by(pull, |(.., is_seen)| *is_seen);
}

#[test]
fn a_repair_asks_the_mirrors_of_the_user() {
    let Some(mica) = Mica::of_nobody() else {
        return;
    };
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", &noise(1, 50_000))]));
    layout.finish();
    let mirror = Hub::with(&layout);
    // As `default_hosts_dirs` has it for an ordinary user.
    let config = mica.directory("config");
    let hosts = r#"mkdir -p "$1/containerd/certs.d/registry.invalid" && echo "[host.\"$2\"]" >"$1/containerd/certs.d/registry.invalid/hosts.toml""#;
    let url = format!("http://{}", mirror.registry.host());
    mica.shell(hosts, &[&config, Path::new(&url)]).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = mica.command(arguments);
        let output = command.env("XDG_CONFIG_HOME", &config).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
    };
    run(&["pull", "-q", "registry.invalid/team/app:1"]);
    let blob = mica.root().join("content/blobs/sha256");
    fs::remove_file(blob.join(layout.layers[0].digest.hex())).unwrap();
    run(&["check", "--repair"]);
    run(&["check"]);
}
