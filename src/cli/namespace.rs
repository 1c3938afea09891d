//! `mica namespace`.

use super::arguments::NamespaceCommand;
use super::output::{Output, labels};
use super::{CliError, Session};
use crate::labels::masked;
use crate::meta::{Labels, NamespaceRecord};

pub(super) fn run(session: &Session, command: &NamespaceCommand) -> Result<(), CliError> {
    let client = session.client()?;
    match command {
        NamespaceCommand::Ls(arguments) => session.output.records(
            &client.namespaces(&arguments.filters)?,
            ["NAME", "LABELS"],
            |namespace| [namespace.name.clone(), labels(&namespace.labels)],
        ),
        NamespaceCommand::Create { name, labels } => {
            let labels = labels.iter().cloned().collect();
            show(session, &client.create_namespace(name, labels)?)
        }
        NamespaceCommand::Label { name, labels } => {
            let changes: Labels = labels.iter().cloned().collect();
            let update = |mask: &[&str]| client.label_namespace(name, &changes, mask);
            show(session, &masked(&changes, update)?)
        }
        NamespaceCommand::Policy { policy } => {
            let policy = client.sharing_policy(*policy)?;
            session
                .output
                .record(&policy, [("policy", policy.to_string())])
        }
        NamespaceCommand::Rm { names } => names.iter().try_for_each(|name| {
            client.remove_namespace(name)?;
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
