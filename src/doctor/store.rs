//! The store: its file system, and whether what it has can be used. A quick look; the
//! whole is `mica check`.

use std::path::Path;

use mica_fuse::session;
use rustix::io::Errno;

use super::Finding;
use crate::causes::in_one_line;
use crate::filter::Filter;
use crate::images::{self, Completeness};
use crate::layers::LayerState;
use crate::meta::Transaction;
use crate::mounts::Records;
use crate::store::{Store, try_attributes};

/// Free bytes below which an image hardly fits.
const LITTLE: u64 = 2 << 30;

pub(super) fn examine(root: &Path) -> Vec<Finding> {
    let mut findings = vec![space(root)];
    if !root.join("version").exists() {
        let detail = format!("there is none yet at {}", root.display());
        findings.push(Finding::ok("store", detail));
        return findings;
    }
    let store = match Store::open(root) {
        Ok(store) => store,
        Err(error) => {
            let advice = "use another --root, or make it readable for you";
            findings.push(Finding::bad("store", in_one_line(&error), advice));
            return findings;
        }
    };
    findings.push(attributes(&store));
    findings.push(match health(&store) {
        Ok(finding) => finding,
        Err(error) => Finding::bad("store", in_one_line(&*error), "mica check tells more"),
    });
    findings.push(match mounts(&store) {
        Ok(finding) => finding,
        Err(error) => Finding::bad("mounts", in_one_line(&*error), "mica mounts tells more"),
    });
    findings
}

/// Looks at the file system that the store is on, or will be.
fn space(root: &Path) -> Finding {
    let subject = "free space";
    let mut existing = root.ancestors().filter(|path| path.exists());
    let place = existing.next().unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(place) {
        Err(errno) => Finding::bad(subject, format!("{}: {errno}", root.display()), "see why"),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let shown = indicatif::HumanBytes(free);
            let detail = format!("{shown} for {}", root.display());
            if free < LITTLE {
                Finding::bad(subject, detail, "mica gc, mica prune, or another --root")
            } else {
                Finding::ok(subject, detail)
            }
        }
    }
}

/// Tries whether files of the store can have the attributes that writable mounts need.
fn attributes(store: &Store) -> Finding {
    let subject = "attributes";
    let path = store.tmp();
    match try_attributes(&path) {
        Ok(()) => Finding::ok(subject, "the file system of the store keeps them"),
        Err(Errno::OPNOTSUPP) => Finding::bad(
            subject,
            "the file system of the store has none: nothing can be mounted with --rw",
            "use a --root on ext4, xfs or btrfs",
        ),
        Err(errno) => Finding::bad(
            subject,
            format!("{}: {errno}", path.display()),
            "use another --root",
        ),
    }
}

type Failure = Box<dyn std::error::Error>;

/// Looks at presence and sizes in all namespaces; digests are not computed.
fn health(store: &Store) -> Result<Finding, Failure> {
    let namespaces = store
        .meta()
        .read(|transaction: &Transaction<'_>| transaction.namespaces())?;
    let (mut total, mut unusable) = (0, Vec::new());
    for namespace in namespaces {
        for image in images::check(store, &namespace, &Filter::default())? {
            total += 1;
            if matches!(image.status, Completeness::Damaged) {
                unusable.push(image.name);
            }
        }
    }
    let layers = store.layers();
    let mut unproven = 0;
    for diff_id in layers.list()? {
        unproven += usize::from(layers.state(&diff_id)? == LayerState::Unproven);
    }
    let detail = format!("{total} images in {}", store.root().display());
    Ok(match (unusable.as_slice(), unproven) {
        ([], 0) => Finding::ok("store", detail),
        ([], count) => Finding::note(
            "store",
            format!("{detail}; {count} layers were written before a crash and not checked since"),
            "mica layer verify",
        ),
        (names, _) => Finding::bad(
            "store",
            format!("damaged: {}", names.join(", ")),
            "mica check --repair, or pull again",
        ),
    })
}

/// Looks for mounts whose processes are gone.
fn mounts(store: &Store) -> Result<Finding, Failure> {
    let (mut served, mut dead) = (0, Vec::new());
    for record in Records::at(store.mounts()).list()? {
        if record.is_served()? {
            served += 1;
        } else {
            dead.push(record.mountpoint);
        }
    }
    let Some(point) = dead.first() else {
        let all = session::mounts()?
            .iter()
            .filter(|mount| mount.is_ours())
            .count();
        let detail = format!("{served} of this store, {all} of mica on this machine");
        return Ok(Finding::ok("mounts", detail));
    };
    let point = point.display();
    Ok(Finding::bad(
        "mounts",
        format!("the process that served {point} is gone"),
        format!("mica umount {point}"),
    ))
}
