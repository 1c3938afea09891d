//! What the config of an image tells of how its layers were made.

use serde::Deserialize;

/// One step of a history (OCI image spec, "Image Configuration", `history`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) created: Option<String>,
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    empty_layer: bool,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    history: Option<Vec<Step>>,
}

/// Returns the steps that have made layers, lowest first.
pub(super) fn steps(config: &[u8]) -> Result<Vec<Step>, serde_json::Error> {
    let config: Config = serde_json::from_slice(config)?;
    let mut steps = config.history.unwrap_or_default();
    steps.retain(|step| !step.empty_layer);
    Ok(steps)
}

impl Step {
    /// Returns the command as its author has written it: without the shell that Docker's
    /// builder puts before it. Where there is none, the comment.
    pub(super) fn command(&self) -> Option<String> {
        let text = [&self.created_by, &self.comment]
            .into_iter()
            .flatten()
            .find(|text| !text.trim().is_empty())?;
        let text = text.trim();
        let written = text
            .strip_prefix("/bin/sh -c #(nop) ")
            .or_else(|| text.strip_prefix("/bin/sh -c "))
            .unwrap_or(text);
        Some(written.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_as_their_authors_wrote_them() {
        let config = br#"{"history": [
            {"created_by": "/bin/sh -c #(nop) ADD file:0 in / "},
            {"created_by": "/bin/sh -c #(nop)  CMD [\"bash\"]", "empty_layer": true},
            {"created_by": "/bin/sh -c apt-get update"},
            {"created_by": "RUN /bin/sh -c make # buildkit", "comment": "buildkit"},
            {"comment": "imported"},
            {}
        ]}"#;
        let steps = steps(config).unwrap();
        let commands: Vec<_> = steps.iter().map(Step::command).collect();
        let commands: Vec<_> = commands.iter().map(Option::as_deref).collect();
        assert_eq!(
            commands,
            [
                Some("ADD file:0 in /"),
                Some("apt-get update"),
                Some("RUN /bin/sh -c make # buildkit"),
                Some("imported"),
                None
            ]
        );
        for (why, config) in [("none", &b"{}"[..]), ("null", br#"{"history": null}"#)] {
            assert_eq!(super::steps(config).unwrap(), [], "{why}");
        }
    }
}
