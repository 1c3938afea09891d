//! `mica doctor`.

use serde_json::Value;

use crate::program::Mica;
use crate::support::{Answer, Registry};

fn findings(mica: &Mica, arguments: &[&str]) -> (bool, Vec<Value>) {
    let mut command = mica.command(["doctor", "--json"]);
    let output = command.args(arguments).output().unwrap();
    let findings = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.success(), findings)
}

fn state<'f>(findings: &'f [Value], subject: &str) -> &'f str {
    let mut findings = findings.iter();
    let found = findings.find(|finding| finding["subject"] == subject);
    found.unwrap_or_else(|| panic!("{subject}"))["state"]
        .as_str()
        .unwrap()
}

#[test]
fn a_machine_is_examined_and_nothing_is_made() {
    let mica = Mica::new();
    let (_, found) = findings(&mica, &[]);
    for subject in ["/dev/fuse", "fusermount3", "kernel", "store"] {
        assert_eq!(state(&found, subject), "ok", "{subject}");
    }
    assert!(!mica.root().exists());
    for finding in &found {
        let is_ok = finding["state"] == "ok";
        assert_eq!(finding["advice"].is_null(), is_ok, "{finding}");
    }
    mica.ok(["images"]);
    let (_, found) = findings(&mica, &[]);
    assert_eq!(state(&found, "store"), "ok");
    assert_eq!(state(&found, "mounts"), "ok");
}

#[test]
fn a_store_that_cannot_be_used_is_bad() {
    let mica = Mica::new();
    std::fs::create_dir_all(mica.root()).unwrap();
    std::fs::write(mica.root().join("version"), "99\n").unwrap();
    let (is_well, found) = findings(&mica, &[]);
    assert!(!is_well);
    assert_eq!(state(&found, "store"), "bad");
    let text = mica.shown(["doctor"]);
    assert!(
        text.contains("bad   store: ") && text.contains("have to be done"),
        "{text}"
    );
}

#[test]
fn registries_are_asked_when_they_are_named() {
    let registry = Registry::start();
    let host = registry.host();
    let probe = "/v2/mica-doctor/probe/manifests/latest";
    for method in ["HEAD", "GET"] {
        registry.on(&format!("{method} {probe}"), [Answer::status(404)]);
    }
    let mica = Mica::new();
    let (_, found) = findings(&mica, &["--registry", &host]);
    assert_eq!(state(&found, &format!("registry {host}")), "ok");
    let (is_well, found) = findings(&mica, &["--registry", "127.0.0.1:1"]);
    assert!(!is_well);
    assert_eq!(state(&found, "registry 127.0.0.1:1"), "bad");
}
