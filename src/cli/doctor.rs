//! `mica doctor`.

use super::CliError;
use super::arguments::{DoctorArguments, GlobalArguments};
use super::output::Output;
use super::pull::in_runtime;
use crate::doctor::{self, Finding, Health};
use crate::store::Store;

pub(super) fn run(global: &GlobalArguments, arguments: &DoctorArguments) -> Result<(), CliError> {
    let root = match &global.root {
        Some(root) => root.clone(),
        None => Store::default_root()?,
    };
    let mut findings = doctor::examine(&root);
    if !arguments.registry.is_empty() {
        let asked = in_runtime(async {
            let mut asked = Vec::new();
            for host in &arguments.registry {
                asked.push(doctor::check_registry(host).await);
            }
            Ok(asked)
        })?;
        findings.extend(asked);
    }
    if global.json {
        Output::json(&findings)?;
    } else {
        findings.iter().map(line).try_for_each(Output::line)?;
    }
    let bad = |finding: &&Finding| finding.state == Health::Bad;
    match findings.iter().filter(bad).count() {
        0 => Ok(()),
        count => Err(CliError::Unwell(count)),
    }
}

fn line(finding: &Finding) -> String {
    let state = match finding.state {
        Health::Ok => "ok",
        Health::Note => "note",
        Health::Bad => "bad",
    };
    let Finding {
        subject, detail, ..
    } = finding;
    let advice = finding.advice.iter();
    let advice = advice.map(|advice| format!("\n      {advice}"));
    format!(
        "{state:4}  {subject}: {detail}{}",
        advice.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_was_seen() {
        assert_eq!(line(&Finding::ok("a", "b")), "ok    a: b");
        assert_eq!(line(&Finding::bad("a", "b", "c")), "bad   a: b\n      c");
    }
}
