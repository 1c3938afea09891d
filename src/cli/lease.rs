//! `mica lease`.

use jiff::Timestamp;

use super::arguments::{LeaseCommand, ResourceArguments};
use super::output::{Output, labels, time};
use super::{CliError, Session};
use crate::gc;
use crate::leases::{EXPIRE, FLAT, LeaseError, Leases, Resource};
use crate::meta::{Labels, LeaseRecord};
use crate::publish;

pub(super) fn run(session: &Session, command: &LeaseCommand) -> Result<(), CliError> {
    let leases = Leases::new(&session.store, session.namespace.clone());
    match command {
        LeaseCommand::Ls(filters) => list(session, &leases.matching(&filters.filter()?)?),
        LeaseCommand::Create {
            id,
            expires,
            flat,
            labels,
        } => {
            let mut all: Labels = labels.iter().cloned().collect();
            if !expires.is_zero() {
                let expire = Timestamp::now().checked_add(*expires);
                let expire = expire.unwrap_or(Timestamp::MAX);
                all.insert(EXPIRE.to_owned(), expire.to_string());
            }
            if *flat {
                all.insert(FLAT.to_owned(), "true".to_owned());
            }
            let id = id.clone().unwrap_or_else(publish::unique_name);
            Output::line(leases.create(&id, all)?.id)
        }
        LeaseCommand::Rm { ids } => {
            for id in ids {
                leases.delete(id)?;
                Output::line(format!("removed {id}"))?;
            }
            gc::collect(&session.store)?;
            Ok(())
        }
        LeaseCommand::Resources { id } => {
            session
                .output
                .records(&leases.resources(id)?, ["ID", "TYPE"], |resource| {
                    [resource.id.clone(), resource.kind.to_string()]
                })
        }
        LeaseCommand::Add(arguments) => Ok(leases.add(&arguments.id, &resource(arguments)?)?),
        LeaseCommand::Drop(arguments) => Ok(leases.remove(&arguments.id, &resource(arguments)?)?),
    }
}

fn list(session: &Session, leases: &[LeaseRecord]) -> Result<(), CliError> {
    session
        .output
        .records(leases, ["ID", "CREATED", "RESOURCES", "LABELS"], |lease| {
            [
                lease.id.clone(),
                time(lease.created),
                lease.resources.len().to_string(),
                labels(&lease.labels),
            ]
        })
}

fn resource(arguments: &ResourceArguments) -> Result<Resource, LeaseError> {
    Resource::new(&arguments.kind, &arguments.resource)
}
