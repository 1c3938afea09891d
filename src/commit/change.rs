//! Changes to how an image is run, written as the instructions of a Dockerfile.

use std::str::FromStr;

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::config::{array, object_in};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Command(Vec<String>),
    Entrypoint(Vec<String>),
    Environment(Vec<(String, String)>),
    Labels(Vec<(String, String)>),
    User(String),
    WorkingDirectory(String),
    Ports(Vec<String>),
    Volumes(Vec<String>),
    StopSignal(String),
}

/// Why a text is no change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// The instruction does not exist, or changes something else than the config.
    #[error(
        "{0:?} is none of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR"
    )]
    Instruction(String),
    /// There is nothing behind the instruction.
    #[error("{0} wants an argument")]
    Argument(String),
    /// A quotation mark opens and does not close.
    #[error("a quotation mark is not closed")]
    Quote,
    /// Something is not KEY=VALUE.
    #[error("{0:?} is not KEY=VALUE")]
    Pair(String),
    /// A port is not a number, perhaps with a protocol.
    #[error("{0:?} is not PORT or PORT/PROTOCOL")]
    Port(String),
}

impl ConfigChange {
    /// Returns the instruction as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Says whether this sets the command.
    pub(super) fn is_command(&self) -> bool {
        matches!(self.kind, Kind::Command(_))
    }

    /// Changes the process part of a config. An entry point takes the command of the image
    /// below away, unless one of the changes is a command: it was meant for the old one.
    pub(super) fn apply(
        &self,
        process: &mut Map<String, Value>,
        keeps_command: bool,
    ) -> Result<(), serde_json::Error> {
        let mut set = |key: &str, value: Value| {
            process.insert(key.to_owned(), value);
        };
        match &self.kind {
            Kind::Command(words) => set("Cmd", json!(words)),
            Kind::Entrypoint(words) => {
                set("Entrypoint", json!(words));
                if !keeps_command {
                    process.remove("Cmd");
                }
            }
            Kind::User(user) => set("User", json!(user)),
            Kind::StopSignal(signal) => set("StopSignal", json!(signal)),
            Kind::WorkingDirectory(path) => {
                let old = process.get("WorkingDir").and_then(Value::as_str);
                let path = joined(old.unwrap_or_default(), path);
                process.insert("WorkingDir".to_owned(), json!(path));
            }
            Kind::Environment(pairs) => {
                let all = array(process, "Env")?;
                for pair in pairs {
                    set_variable(all, pair);
                }
            }
            Kind::Labels(pairs) => {
                let labels = object_in(process, "Labels")?;
                labels.extend(pairs.iter().map(|(key, value)| (key.clone(), json!(value))));
            }
            Kind::Ports(ports) => {
                let all = object_in(process, "ExposedPorts")?;
                all.extend(ports.iter().map(|port| (port.clone(), json!({}))));
            }
            Kind::Volumes(paths) => {
                let all = object_in(process, "Volumes")?;
                all.extend(paths.iter().map(|path| (path.clone(), json!({}))));
            }
        }
        Ok(())
    }
}

impl FromStr for ConfigChange {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let text = text.trim();
        let (instruction, rest) = text
            .split_once(char::is_whitespace)
            .or_else(|| text.split_once('='))
            .unwrap_or((text, ""));
        let instruction = instruction.to_ascii_uppercase();
        let rest = rest.trim();
        let kind = match instruction.as_str() {
            // Nothing behind these takes away what was there.
            "CMD" => Kind::Command(command(rest)),
            "ENTRYPOINT" => Kind::Entrypoint(command(rest)),
            _ if rest.is_empty() => return Err(empty(&instruction)),
            "ENV" => Kind::Environment(pairs(rest)?),
            "LABEL" => Kind::Labels(pairs(rest)?),
            "USER" => Kind::User(rest.to_owned()),
            "WORKDIR" => Kind::WorkingDirectory(rest.to_owned()),
            "STOPSIGNAL" => Kind::StopSignal(rest.to_owned()),
            "EXPOSE" => Kind::Ports(ports(rest)?),
            "VOLUME" => Kind::Volumes(match serde_json::from_str(rest) {
                Ok(paths) => paths,
                Err(_) => words(rest)?,
            }),
            _ => return Err(ChangeError::Instruction(instruction)),
        };
        let text = text.to_owned();
        Ok(Self { text, kind })
    }
}

fn empty(instruction: &str) -> ChangeError {
    const WITH_ARGUMENT: [&str; 7] = [
        "ENV",
        "LABEL",
        "USER",
        "WORKDIR",
        "STOPSIGNAL",
        "EXPOSE",
        "VOLUME",
    ];
    if WITH_ARGUMENT.contains(&instruction) {
        return ChangeError::Argument(instruction.to_owned());
    }
    ChangeError::Instruction(instruction.to_owned())
}

/// Returns a command line: a JSON array as it is, everything else for a shell.
fn command(text: &str) -> Vec<String> {
    match serde_json::from_str(text) {
        Ok(words) => words,
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
    }
}

/// Returns pairs, or the one pair of the old form `KEY VALUE`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, ChangeError> {
    let first = text.split(char::is_whitespace).next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| ChangeError::Pair(text.to_owned()))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(ChangeError::Pair(word)),
    };
    words(text)?.into_iter().map(pair).collect()
}

fn ports(text: &str) -> Result<Vec<String>, ChangeError> {
    let port = |word: String| {
        let (number, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        match (number.parse::<u16>(), protocol) {
            (Ok(number), "tcp" | "udp" | "sctp") => Ok(format!("{number}/{protocol}")),
            _ => Err(ChangeError::Port(word)),
        }
    };
    words(text)?.into_iter().map(port).collect()
}

/// Splits a text at spaces that are neither quoted nor escaped.
fn words(text: &str) -> Result<Vec<String>, ChangeError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (mark, Some(open)) if mark == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                word.get_or_insert_default().extend(characters.next());
            }
            (space, None) if space.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(ChangeError::Quote);
    }
    words.extend(word);
    Ok(words)
}

/// Returns a directory as seen from another one.
fn joined(old: &str, new: &str) -> String {
    if new.starts_with('/') {
        return new.to_owned();
    }
    format!("/{}/{new}", old.trim_matches('/')).replace("//", "/")
}

/// Sets a variable where it stands, or at the end.
fn set_variable(all: &mut Vec<Value>, (key, value): &(String, String)) {
    let is_it = |old: &Value| {
        old.as_str()
            .and_then(|old| old.split_once('='))
            .is_some_and(|(name, _)| name == key)
    };
    let new = json!(format!("{key}={value}"));
    match all.iter_mut().find(|old| is_it(old)) {
        Some(old) => *old = new,
        None => all.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(process: Value, changes: &[&str]) -> Value {
        let Value::Object(mut process) = process else {
            panic!("no object")
        };
        let changes: Vec<ConfigChange> = changes.iter().map(|text| text.parse().unwrap()).collect();
        let keeps_command = changes.iter().any(ConfigChange::is_command);
        for change in &changes {
            change.apply(&mut process, keeps_command).unwrap();
        }
        Value::Object(process)
    }

    #[test]
    fn changes_are_those_of_a_dockerfile() {
        let cases: [(&str, Value, &[&str], Value); 11] = [
            (
                "a command for a shell",
                json!({}),
                &["CMD echo hello"],
                json!({"Cmd": ["/bin/sh", "-c", "echo hello"]}),
            ),
            (
                "a command without one",
                json!({"Cmd": ["old"]}),
                &[r#"cmd ["a", "b c"]"#],
                json!({"Cmd": ["a", "b c"]}),
            ),
            (
                "an entry point takes the old command away",
                json!({"Cmd": ["old"]}),
                &[r#"ENTRYPOINT ["a"]"#],
                json!({"Entrypoint": ["a"]}),
            ),
            (
                "but not the new one",
                json!({"Cmd": ["old"]}),
                &[r#"CMD ["new"]"#, r#"ENTRYPOINT ["a"]"#],
                json!({"Entrypoint": ["a"], "Cmd": ["new"]}),
            ),
            (
                "variables, one of which was there",
                json!({"Env": ["PATH=/bin", "B=1"]}),
                &[
                    r#"ENV PATH=/usr/bin C="two words" D=a\ b E='"'"#,
                    "ENV F old form",
                ],
                json!({"Env": [
                    "PATH=/usr/bin", "B=1", "C=two words", "D=a b", "E=\"", "F=old form"
                ]}),
            ),
            (
                "labels of an image without any",
                json!({"Labels": null}),
                &["LABEL a=b c="],
                json!({"Labels": {"a": "b", "c": ""}}),
            ),
            (
                "ports",
                json!({"ExposedPorts": {"1/tcp": {}}}),
                &["EXPOSE 80 53/udp"],
                json!({"ExposedPorts": {"1/tcp": {}, "80/tcp": {}, "53/udp": {}}}),
            ),
            (
                "volumes",
                json!({}),
                &[r#"VOLUME ["/a b"]"#, "VOLUME /c /d"],
                json!({"Volumes": {"/a b": {}, "/c": {}, "/d": {}}}),
            ),
            (
                "a directory below the old one",
                json!({"WorkingDir": "/a"}),
                &["WORKDIR b", "WORKDIR c"],
                json!({"WorkingDir": "/a/b/c"}),
            ),
            (
                "another directory",
                json!({"WorkingDir": "/a"}),
                &["WORKDIR /b"],
                json!({"WorkingDir": "/b"}),
            ),
            (
                "user and signal, as docker commit wants them too",
                json!({}),
                &["USER=app:1", "STOPSIGNAL SIGQUIT"],
                json!({"User": "app:1", "StopSignal": "SIGQUIT"}),
            ),
        ];
        for (why, process, changes, expected) in cases {
            assert_eq!(changed(process, changes), expected, "{why}");
        }
    }

    #[test]
    fn other_texts_are_no_changes() {
        let cases = [
            ("RUN ls", ChangeError::Instruction("RUN".into())),
            ("", ChangeError::Instruction(String::new())),
            ("USER", ChangeError::Argument("USER".into())),
            ("ENV A", ChangeError::Pair("A".into())),
            ("LABEL =b", ChangeError::Pair("=b".into())),
            ("ENV A=\"b", ChangeError::Quote),
            ("EXPOSE 65536", ChangeError::Port("65536".into())),
            ("EXPOSE 1/icmp", ChangeError::Port("1/icmp".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<ConfigChange>(), Err(expected), "{text}");
        }
    }
}
