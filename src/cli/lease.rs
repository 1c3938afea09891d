//! `mica lease`.

use jiff::Timestamp;

use super::arguments::{LeaseCommand, ResourceArguments};
use super::output::{Output, labels, time};
use super::{CliError, Session};
use crate::leases::{EXPIRE, FLAT, LeaseError, Resource};
use crate::meta::{Labels, LeaseRecord};
use crate::publish;

pub(super) fn run(session: &Session, command: &LeaseCommand) -> Result<(), CliError> {
    let client = session.client()?;
    match command {
        LeaseCommand::Ls(filters) => list(session, &client.leases(&filters.filters)?),
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
            Output::line(client.create_lease(&id, all)?)
        }
        LeaseCommand::Rm { ids } => {
            for id in ids {
                client.remove_lease(id)?;
                Output::line(format!("removed {id}"))?;
            }
            client.collect()?;
            Ok(())
        }
        LeaseCommand::Resources { id } => {
            session
                .output
                .records(&client.leased(id)?, ["ID", "TYPE"], |resource| {
                    [resource.id.clone(), resource.kind.to_string()]
                })
        }
        LeaseCommand::Add(arguments) => {
            Ok(client.add_to_lease(&arguments.id, &resource(arguments)?)?)
        }
        LeaseCommand::Drop(arguments) => {
            Ok(client.drop_from_lease(&arguments.id, &resource(arguments)?)?)
        }
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
