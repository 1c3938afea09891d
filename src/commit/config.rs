//! The config of a new image: that of the image below, with what is new.
//!
//! It is changed as JSON, so that fields that mica does not know are kept.

use jiff::Timestamp;
use serde::de::Error as _;
use serde_json::{Map, Value, json};

use super::base::Base;
use super::{CommitError, CommitOptions, ConfigChange, NewLayer};

/// What a container of the image below was run with, which says nothing of the new one.
const STALE: [&str; 4] = ["container", "container_config", "id", "parent"];

/// Returns the bytes of the new config.
pub(super) fn make(
    base: &Base,
    layers: &[NewLayer],
    created: Timestamp,
    options: &CommitOptions,
) -> Result<Vec<u8>, CommitError> {
    let failed = |source| CommitError::Config {
        image: base.name.clone(),
        source,
    };
    let mut config = base.config.clone();
    change(&mut config, base.layers.len(), layers, created, options)
        .and_then(|()| serde_json::to_vec(&config))
        .map_err(failed)
}

fn change(
    config: &mut Value,
    layers_below: usize,
    layers: &[NewLayer],
    created: Timestamp,
    options: &CommitOptions,
) -> Result<(), serde_json::Error> {
    let config = object(config)?;
    for key in STALE {
        config.remove(key);
    }
    let created = json!(created.to_string());
    config.insert("created".to_owned(), created.clone());
    if let Some(author) = &options.author {
        config.insert("author".to_owned(), json!(author));
    }
    let diff_ids = array(object_in(config, "rootfs")?, "diff_ids")?;
    diff_ids.extend(layers.iter().map(|layer| json!(layer.diff_id)));
    let history = array(config, "history")?;
    complete(history, layers_below);
    history.extend(entries(layers.len(), &created, options));
    let has_command = options.changes.iter().any(ConfigChange::is_command);
    let process = object_in(config, "config")?;
    for change in &options.changes {
        change.apply(process, has_command)?;
    }
    Ok(())
}

/// Returns the entries of the history for so many new layers, at least one.
fn entries(layers: usize, created: &Value, options: &CommitOptions) -> Vec<Value> {
    let mut written: Vec<&str> = options.changes.iter().map(ConfigChange::text).collect();
    written.insert(0, "mica image commit");
    let entry = |number: usize| {
        let mut entry = Map::new();
        entry.insert("created".to_owned(), created.clone());
        entry.insert("created_by".to_owned(), json!(written.join("; ")));
        if let Some(author) = &options.author {
            entry.insert("author".to_owned(), json!(author));
        }
        if let Some(message) = &options.message {
            entry.insert("comment".to_owned(), json!(message));
        }
        if number >= layers {
            entry.insert("empty_layer".to_owned(), json!(true));
        }
        Value::Object(entry)
    };
    (0..layers.max(1)).map(entry).collect()
}

/// Adds entries to a history that does not tell of all layers, since readers pair both.
fn complete(history: &mut Vec<Value>, layers: usize) {
    let is_layer = |entry: &&Value| entry.get("empty_layer") != Some(&Value::Bool(true));
    let told = history.iter().filter(is_layer).count();
    history.extend((told..layers).map(|_| json!({})));
}

/// Returns a field, which is null where there was none.
fn entry<'a>(object: &'a mut Map<String, Value>, key: &str) -> &'a mut Value {
    object.entry(key).or_insert(Value::Null)
}

/// Returns an object; a null is made an empty one.
fn object(value: &mut Value) -> Result<&mut Map<String, Value>, serde_json::Error> {
    if value.is_null() {
        *value = json!({});
    }
    value
        .as_object_mut()
        .ok_or_else(|| serde_json::Error::custom("it holds something else than an object"))
}

/// Returns an object in an object; a null is made an empty one.
pub(super) fn object_in<'a>(
    value: &'a mut Map<String, Value>,
    key: &str,
) -> Result<&'a mut Map<String, Value>, serde_json::Error> {
    object(entry(value, key))
}

/// Returns an array in an object; a null is made an empty one.
pub(super) fn array<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> Result<&'a mut Vec<Value>, serde_json::Error> {
    let value = entry(object, key);
    if value.is_null() {
        *value = json!([]);
    }
    value
        .as_array_mut()
        .ok_or_else(|| serde_json::Error::custom(format!("{key} is no array")))
}
