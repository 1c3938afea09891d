//! All records at once, for those who look for damage.

use std::collections::{BTreeMap, BTreeSet};

use super::Namespace;
use super::database::Database;
use super::journal::Journal;
use super::key::{Table, parse, shown};
use super::record::{Record, decode};
use super::{
    CommitCounter, ContentRecord, ImageRecord, LeaseRecord, Meta, MetaError, SnapshotCounter,
    SnapshotId, SnapshotRecord, failed,
};
use crate::leases::Resource;

/// What the database holds, of all namespaces, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) images: Vec<(Namespace, ImageRecord)>,
    pub(crate) snapshots: Vec<(Namespace, SnapshotRecord)>,
    pub(crate) content: Vec<(Namespace, ContentRecord)>,
    /// What leases keep.
    pub(crate) leased: BTreeSet<Resource>,
    /// The highest number that a snapshot's directory was given.
    pub(crate) last: Option<SnapshotId>,
    /// Records that cannot be decoded, and why.
    pub(crate) damaged: Vec<(String, MetaError)>,
    /// Records that the journal has otherwise.
    pub(crate) strayed: Vec<String>,
    /// Whether the journal can be read to its end.
    pub(crate) has_journal: bool,
}

impl Meta {
    /// Reads all records, and compares them with the journal. `look` is called while no
    /// transaction can begin.
    pub(crate) fn survey<T>(&self, look: impl FnOnce() -> T) -> Result<(Survey, T), MetaError> {
        self.with_database(|database, journal, _| Ok((survey(database, journal)?, look())))
    }
}

/// Says whether a record can be decoded, as far as its kind is known.
pub(super) fn is_readable(key: &[u8], bytes: &[u8]) -> bool {
    let mut survey = Survey::default();
    survey.sort_in(key, bytes);
    survey.damaged.is_empty()
}

fn survey(database: &Database, journal: &Journal) -> Result<Survey, MetaError> {
    let failed = failed(journal, "read");
    let mut survey = Survey::default();
    let all: BTreeMap<Vec<u8>, Vec<u8>> = database.scan(b"")?.into_iter().collect();
    for (key, bytes) in &all {
        survey.sort_in(key, bytes);
    }
    if journal.end().map_err(&failed)?.is_none() {
        // Of an earlier release; the next transaction begins one.
        survey.has_journal = all.is_empty() || !journal.path().exists();
        return Ok(survey);
    }
    let (records, _, is_whole) = journal.fold().map_err(failed)?;
    survey.has_journal = is_whole;
    if is_whole {
        let keys = all.keys().chain(records.keys());
        let strayed = keys.filter(|key| all.get(*key) != records.get(*key));
        survey.strayed = strayed.map(|key| shown(key)).collect();
        survey.strayed.sort_unstable();
        survey.strayed.dedup();
    }
    Ok(survey)
}

impl Survey {
    fn sort_in(&mut self, key: &[u8], bytes: &[u8]) {
        let Some((namespace, table)) = parse(key) else {
            return;
        };
        let sorted = match table {
            Table::Images => read(key, bytes).map(|record| self.images.push((namespace, record))),
            Table::Snapshots => {
                read(key, bytes).map(|record| self.snapshots.push((namespace, record)))
            }
            Table::Content => read(key, bytes).map(|record| self.content.push((namespace, record))),
            Table::Counters => self.count(key, bytes),
            Table::Leases => {
                read(key, bytes).map(|record: LeaseRecord| self.leased.extend(record.resources))
            }
            // Others read these by themselves.
            Table::Namespaces => Ok(()),
        };
        if let Err(error) = sorted {
            self.damaged.push((shown(key), error));
        }
    }

    fn count(&mut self, key: &[u8], bytes: &[u8]) -> Result<(), MetaError> {
        if key.ends_with(b"snapshots") {
            let counter: SnapshotCounter = read(key, bytes)?;
            self.last = Some(counter.last);
            return Ok(());
        }
        if key.ends_with(b"commits") {
            read::<CommitCounter>(key, bytes)?;
        }
        Ok(())
    }
}

fn read<R: Record>(key: &[u8], bytes: &[u8]) -> Result<R, MetaError> {
    decode(key, bytes)
}
