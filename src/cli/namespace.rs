//! `mica namespace`.

use super::arguments::NamespaceCommand;
use super::output::{Output, labels};
use super::{CliError, Session};
use crate::labels::masked;
use crate::meta::{Labels, NamespaceRecord};
use crate::namespaces::Namespaces;

pub(super) fn run(session: &Session, command: &NamespaceCommand) -> Result<(), CliError> {
    let namespaces = Namespaces::new(&session.store);
    match command {
        NamespaceCommand::Ls(arguments) => session.output.records(
            &namespaces.matching(&arguments.filter()?)?,
            ["NAME", "LABELS"],
            |namespace| [namespace.name.clone(), labels(&namespace.labels)],
        ),
        NamespaceCommand::Create { name, labels } => {
            let labels = labels.iter().cloned().collect();
            show(session, &namespaces.create(name, labels)?)
        }
        NamespaceCommand::Label { name, labels } => {
            let changes: Labels = labels.iter().cloned().collect();
            let update = |mask: &[&str]| namespaces.update(name, &changes, mask);
            show(session, &masked(&changes, update)?)
        }
        NamespaceCommand::Policy { policy } => {
            let content = session.store.content();
            if let Some(policy) = policy {
                content.set_sharing_policy(*policy)?;
            }
            let policy = content.sharing_policy()?;
            session
                .output
                .record(&policy, [("policy", policy.to_string())])
        }
        NamespaceCommand::Rm { names } => names.iter().try_for_each(|name| {
            namespaces.delete(name)?;
            Output::line(format!("removed {name}"))
        }),
    }
}

fn show(session: &Session, namespace: &NamespaceRecord) -> Result<(), CliError> {
    let lines = [
        ("name", namespace.name.clone()),
        ("labels", labels(&namespace.labels)),
    ];
    session.output.record(namespace, lines)
}
