//! `mica layers`, and the trees of `mica image inspect` and `mica snapshot tree`.

use serde_json::json;

use crate::layout::{Layout, tar_of};
use crate::program::Mica;

/// Returns an image whose second layer changes, adds and removes, and its config tells how.
fn image() -> Layout {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", &[1; 1000]), ("b", &[2; 500])]));
    layout.add_tar(&tar_of(&[("a", &[3; 10]), (".wh.b", b""), ("c", &[4; 20])]));
    layout.finish_with(&json!({
        "config": {"Cmd": ["sh"]},
        "history": [
            {"created_by": "/bin/sh -c #(nop) ADD file in /", "created": "2026-01-02T03:04:05Z"},
            {"created_by": "CMD sh", "empty_layer": true},
            {"created_by": "RUN make   \\\n  clean"},
        ],
    }));
    layout
}

#[test]
fn each_layer_tells_what_it_does_and_wastes() {
    let layout = image();
    let mica = Mica::new();
    let digest = mica.ok(["pull", "-q", &layout.source()]);
    let anatomy = mica.json(["layers", digest.trim()]);
    assert_eq!(anatomy["size"], 1530);
    assert_eq!(anatomy["hidden"], 1500);
    let efficiency = anatomy["efficiency"].as_f64().unwrap();
    assert!((efficiency - 30.0 / 1530.0).abs() < 1e-9, "{efficiency}");
    let [lower, upper] = [0, 1].map(|layer| &anatomy["layers"][layer]);
    for (layer, field, expected) in [
        (lower, "diff_id", json!(layout.diff_ids[0])),
        (lower, "blob", json!(layout.layers[0].digest)),
        (lower, "command", json!("ADD file in /")),
        (lower, "created", json!("2026-01-02T03:04:05Z")),
        (lower, "size", json!(1500)),
        (lower, "added", json!(2)),
        (lower, "hidden", json!(1500)),
        (upper, "command", json!("RUN make   \\\n  clean")),
        (upper, "size", json!(30)),
        (upper, "added", json!(1)),
        (upper, "changed", json!(1)),
        (upper, "deleted", json!(1)),
        (upper, "hidden", json!(0)),
    ] {
        assert_eq!(layer[field], expected, "{field}");
    }
    let text = mica.ok(["layers", digest.trim()]);
    assert!(text.contains("RUN make \\ clean\n"), "{text}");
    assert!(text.ends_with(": 2.0 % efficient\n"), "{text}");
    mica.fails(["layers", "nothing"]);
}

#[test]
fn an_image_is_drawn_with_what_it_consists_of() {
    let layout = image();
    let mica = Mica::new();
    let digest = mica.ok(["pull", "-q", &layout.source()]);
    let drawn = mica.ok(["image", "inspect", digest.trim()]);
    let lines: Vec<&str> = drawn.lines().collect();
    assert!(
        lines[1].starts_with(&format!("└─ manifest {}", digest.trim())),
        "{drawn}"
    );
    assert!(drawn.contains("   │  └─ command: sh\n"), "{drawn}");
    assert!(drawn.contains("   └─ 2 layers, lowest first\n"), "{drawn}");
    let layer = format!("      ├─ layer {}\n", layout.diff_ids[0]);
    assert!(drawn.contains(&layer), "{drawn}");

    mica.ok(["snapshot", "prepare", "work", digest.trim()]);
    let drawn = mica.ok(["snapshot", "tree"]);
    assert!(drawn.ends_with("\n   └─ work (active)\n"), "{drawn}");
    let tree = mica.json(["snapshot", "tree"]);
    assert_eq!(tree[2]["depth"], 2);
    assert_eq!(tree[2]["parent"], tree[1]["name"]);
}
