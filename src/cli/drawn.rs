//! Trees drawn with lines.

/// Returns the lines of trees, given what stands in them from top to bottom with its depth;
/// what has depth 0 is the top of a tree.
pub(super) fn lines(nodes: &[(usize, String)]) -> Vec<String> {
    let mut lines = Vec::with_capacity(nodes.len());
    // By depth, whether something comes later on the same line.
    let mut goes_on: Vec<bool> = Vec::new();
    for (depth, label) in nodes.iter().rev() {
        goes_on.resize(depth + 1, false);
        let mut line = String::new();
        for (level, goes_on) in goes_on.iter().enumerate().skip(1) {
            line.push_str(match (level == *depth, goes_on) {
                (true, true) => "├─ ",
                (true, false) => "└─ ",
                (false, true) => "│  ",
                (false, false) => "   ",
            });
        }
        line.push_str(label);
        lines.push(line);
        if let Some(last) = goes_on.last_mut() {
            *last = true;
        }
    }
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_hangs_on_lines() {
        let nodes = [
            (0, "a"),
            (1, "b"),
            (2, "c"),
            (2, "d"),
            (1, "e"),
            (2, "f"),
            (0, "g"),
            (1, "h"),
        ];
        let nodes = nodes.map(|(depth, label)| (depth, label.to_owned()));
        assert_eq!(
            lines(&nodes),
            [
                "a",
                "├─ b",
                "│  ├─ c",
                "│  └─ d",
                "└─ e",
                "   └─ f",
                "g",
                "└─ h"
            ]
        );
    }
}
