//! The repair: what can be made again is made again, from what the store has or from where
//! the image came from. What nothing can be made of stays as it is, and is told again.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::documents;
use super::{CheckError, Fault, Report, check, set_aside};
use crate::gc;
use crate::images::Images;
use crate::meta::{ContentRecord, ImageRecord, Namespace, SnapshotId, Survey};
use crate::oci::{DiffId, Digest};
use crate::pull::{self, Observer, Unpack};
use crate::registry;
use crate::snapshots::{self, Description, Directories, SnapshotError};
use crate::store::Store;

/// How often documents that were fetched may lead to others: indexes within an index.
const MAX_ROUNDS: usize = 10;

/// Repairs what a check has found; returns what another check finds then, and why
/// something could not be repaired.
pub async fn repair(
    store: &Arc<Store>,
    found: &Report,
    registry: &registry::Options,
) -> Result<(Report, Vec<String>), CheckError> {
    for finding in &found.findings {
        if let Fault::BlobDamaged { digest, .. } = &finding.fault {
            let path = store.content().path(digest);
            set_aside(
                store,
                &path,
                &format!("{}-{}", digest.algorithm(), digest.hex()),
            )?;
        }
    }
    let (survey, ()) = store.meta().survey(|| ())?;
    records(store, found, &survey)?;
    directories(store, found, &survey)?;
    let mut repair = Repair {
        store,
        survey: &survey,
        registry,
        failures: Vec::new(),
    };
    repair.blobs(found).await?;
    repair.layers(found).await?;
    let mut failures = repair.failures;
    let has_orphans = found
        .findings
        .iter()
        .any(|finding| finding.severity == super::Severity::Orphan);
    if has_orphans && gc::collect(store)?.is_deferred {
        failures.push("orphans stay for now: another command uses the store".to_owned());
    }
    Ok((check(store)?, failures))
}

/// Corrects records by what else is known.
fn records(store: &Store, found: &Report, survey: &Survey) -> Result<(), CheckError> {
    let faults = || found.findings.iter().map(|finding| &finding.fault);
    if faults().any(|fault| *fault == Fault::Journal) {
        store.meta().begin_journal()?;
    }
    let damaged: BTreeSet<&Digest> = faults()
        .filter_map(|fault| match fault {
            Fault::BlobDamaged { digest, .. } => Some(digest),
            _ => None,
        })
        .collect();
    let mut chains = Vec::new();
    for fault in faults() {
        if let Fault::ParentMissing {
            namespace, parent, ..
        } = fault
        {
            chains.extend(chain_with(store, survey, namespace, parent)?);
        }
    }
    store.meta().write(|transaction| {
        for fault in faults() {
            match fault {
                Fault::Counter { id } => Directories::raise_counter(transaction, *id)?,
                Fault::BlobSize {
                    namespace,
                    digest,
                    found,
                    ..
                } if !damaged.contains(digest) => {
                    let name = digest.to_string();
                    if let Some(record) = transaction.find::<ContentRecord>(namespace, &name)? {
                        let record = ContentRecord {
                            size: *found,
                            updated: Timestamp::now(),
                            ..record
                        };
                        transaction.put(namespace, &name, &record)?;
                    }
                }
                _ => {}
            }
        }
        for (namespace, chain) in &chains {
            snapshots::commit_chain(transaction, namespace, chain)?;
        }
        Ok::<_, SnapshotError>(())
    })?;
    Ok(())
}

/// Finds an image whose layers make a snapshot of the given name.
fn chain_with(
    store: &Store,
    survey: &Survey,
    namespace: &Namespace,
    name: &str,
) -> Result<Option<(Namespace, Vec<DiffId>)>, CheckError> {
    for (of, image) in &survey.images {
        if of != namespace {
            continue;
        }
        for variant in documents::parts(&store.content(), image)?.variants {
            let Some(config) = variant.config else {
                continue;
            };
            let chain = config.chain();
            let place = chain.iter().position(|id| id.to_string() == name);
            if let Some(diff_ids) = place.and_then(|place| config.diff_ids().get(..=place)) {
                return Ok(Some((namespace.clone(), diff_ids.to_vec())));
            }
        }
    }
    Ok(None)
}

/// Makes what was empty in directories of snapshots, and describes them.
fn directories(store: &Store, found: &Report, survey: &Survey) -> Result<(), CheckError> {
    let directories = Directories::new(store.root());
    let describe = |namespace: &Namespace, id: SnapshotId| {
        let of_id = survey
            .snapshots
            .iter()
            .find(|(of, record)| of == namespace && record.id == Some(id));
        of_id.map_or(Ok(()), |(namespace, record)| {
            directories.describe(&Description {
                namespace: namespace.clone(),
                record: record.clone(),
            })
        })
    };
    for finding in &found.findings {
        match &finding.fault {
            Fault::DirectoryMissing { id, part, .. } => directories.complete(*id, part)?,
            Fault::Undescribed { namespace, id, .. } => describe(namespace, *id)?,
            _ => {}
        }
    }
    Ok(())
}

/// What is fetched and unpacked again.
struct Repair<'r> {
    store: &'r Arc<Store>,
    survey: &'r Survey,
    /// How to talk to the registries that images came from.
    registry: &'r registry::Options,
    /// Why something could not be.
    failures: Vec<String>,
}

impl Repair<'_> {
    /// Makes layers again.
    async fn layers(&mut self, found: &Report) -> Result<(), CheckError> {
        let store = self.store;
        let mut wanted: BTreeSet<DiffId> = BTreeSet::new();
        for finding in &found.findings {
            match &finding.fault {
                Fault::LayerMissing { diff_id, .. } => drop(wanted.insert(diff_id.clone())),
                Fault::LayerDamaged { diff_id, .. } => {
                    let _lock = store.layers().lock(diff_id).await?;
                    let (again, of) = (Arc::clone(store), diff_id.clone());
                    let remade = move || again.layers().remake(&of);
                    if !tokio::task::spawn_blocking(remade)
                        .await
                        .unwrap_or(Ok(false))?
                    {
                        wanted.insert(diff_id.clone());
                    }
                }
                _ => {}
            }
        }
        for (namespace, image) in &self.survey.images {
            if wanted.is_empty() {
                return Ok(());
            }
            let parts = documents::parts(&store.content(), image)?;
            if !wanted
                .iter()
                .any(|diff_id| !parts.blobs_of(diff_id).is_empty())
            {
                continue;
            }
            match self.mend(namespace, image).await {
                Ok(()) => wanted.retain(|diff_id| parts.blobs_of(diff_id).is_empty()),
                Err(error) => self.failures.push(format!("{}: {error}", image.name)),
            }
        }
        Ok(())
    }

    /// Unpacks layers of an image again, from blobs that are fetched if need be.
    async fn mend(&self, namespace: &Namespace, image: &ImageRecord) -> Result<(), CheckError> {
        let store = self.store;
        let images = Images::new(store.meta(), store.content(), namespace.clone());
        let contents = images.contents(image)?;
        let work = Unpack {
            image,
            contents: &contents,
            namespace,
            registry: self.registry,
            observer: Observer::default(),
        };
        pull::mend(store, &work).await.map_err(Box::new)?;
        Ok(())
    }

    /// Fetches blobs again that images lead to: documents first, since they lead to more.
    async fn blobs(&mut self, found: &Report) -> Result<(), CheckError> {
        let store = self.store;
        let mut lost: BTreeSet<&Digest> = BTreeSet::new();
        let mut of_images: BTreeSet<&str> = BTreeSet::new();
        for finding in &found.findings {
            match &finding.fault {
                Fault::BlobMissing { digest, .. } | Fault::BlobDamaged { digest, .. } => {
                    lost.insert(digest);
                }
                Fault::Image { name, .. } => drop(of_images.insert(name.as_str())),
                _ => {}
            }
        }
        for (namespace, image) in &self.survey.images {
            // An index, a manifest and its config hide each other.
            for _ in 0..MAX_ROUNDS {
                let mut wanted = Vec::new();
                let parts = documents::parts(&store.content(), image)?;
                for (digest, descriptor) in &parts.blobs {
                    let is_wanted = lost.contains(digest)
                        || of_images.contains(image.name.as_str())
                            && parts.is_needed(image, digest);
                    if is_wanted && store.content().size(digest)? != Some(descriptor.size) {
                        wanted.push(descriptor.clone());
                    }
                }
                if wanted.is_empty() {
                    break;
                }
                let observer = Observer::default();
                let fetched =
                    pull::fetch_blobs(store, namespace, image, &wanted, self.registry, &observer)
                        .await;
                if let Err(error) = fetched {
                    self.failures.push(format!("{}: {error}", image.name));
                    break;
                }
            }
        }
        Ok(())
    }
}
