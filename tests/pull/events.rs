//! `mica events`.

use serde_json::{Value, json};

use crate::program::Mica;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_change_of_a_snapshot_is_told() {
    let mica = Mica::new();
    mica.ok(["snapshot", "prepare", "key"]);
    mica.ok(["snapshot", "commit", "name", "key"]);
    mica.ok(["snapshot", "view", "shown", "name"]);
    mica.fails(["snapshot", "rm", "name"]);
    mica.ok(["snapshot", "rm", "shown", "name"]);
    let events = lines(&mica.ok(["events", "--no-follow", "--json"]));
    let expected = [
        (
            "/snapshot/prepare",
            json!({"key": "key", "parent": "", "snapshotter": "mica"}),
        ),
        (
            "/snapshot/commit",
            json!({"key": "key", "name": "name", "snapshotter": "mica"}),
        ),
        (
            "/snapshot/remove",
            json!({"key": "shown", "snapshotter": "mica"}),
        ),
        (
            "/snapshot/remove",
            json!({"key": "name", "snapshotter": "mica"}),
        ),
    ];
    let found: Vec<(&str, Value)> = events
        .iter()
        .map(|event| (event["topic"].as_str().unwrap(), event["event"].clone()))
        .collect();
    assert_eq!(found, expected);
    assert!(events.iter().all(|event| event["namespace"] == "default"));
    let since = events[2]["timestamp"].as_str().unwrap();
    let text = mica.ok(["events", "--no-follow", "--since", since]);
    let line = text.lines().next().unwrap();
    let expected = r#"default /snapshot/remove {"key":"shown","snapshotter":"mica"}"#;
    assert_eq!(line, format!("{since} {expected}"));
    assert_eq!(
        mica.ok(["events", "--no-follow", "--since", "1h"])
            .lines()
            .count(),
        4
    );
}
