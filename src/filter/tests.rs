//! The language: what matches, and how what is wrong is told.

use proptest::prelude::*;

use super::*;

struct Record {
    labels: Labels,
}

impl Fields for Record {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some("docker.io/library/debian:12".into()),
            ["parent", ..] => Some("".into()),
            ["kind", ..] => Some("active".into()),
            ["labels", key @ ..] => label(&self.labels, key),
            _ => None,
        }
    }
}

fn record() -> Record {
    let labels = [("l", "1"), ("a.b/c d", "x,y"), ("b.c", "é")];
    Record {
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

#[test]
fn what_matches() {
    let table: [(&[&str], bool); 46] = [
        (&[], true),
        (&[""], true),
        (&["kind==view", ""], true),
        (&["kind"], true),
        (&["parent"], true),
        (&["other"], false),
        (&["labels"], false),
        (&["kind==active"], true),
        (&["kind==Active"], false),
        (&[" kind == active"], true),
        (&["kind==view", "kind==active"], true),
        (&["kind==view", "kind==committed"], false),
        (&["kind==active,labels.l"], true),
        (&["kind==active, labels.l==1"], true),
        (&["kind==active,labels.l==2"], false),
        (&["kind!=view"], true),
        (&["kind!=active"], false),
        (&["parent==\"\""], true),
        (&["parent!=\"\""], false),
        (&["other!=\"\""], false),
        (&["other!=x"], true),
        (&["other==\"\""], false),
        (&["labels.b.c==é"], true),
        (&["labels.b.c"], true),
        (&["labels.b"], false),
        (&["labels.\"a.b/c d\""], true),
        (&["labels.\"a.b/c d\"==\"x,y\""], true),
        (&["labels.a.\"b/c d\"==\"x,y\""], true),
        (&["\"kind\"==active"], true),
        (&["name==docker.io/library/debian:12"], true),
        (&["name~=debian"], true),
        (&["name~=^debian"], false),
        (&["name~=/library\\/deb.*:12$/"], true),
        (&["name~=|library/deb(ian)?:|"], true),
        (&["name~=\"[0-9]+$\""], true),
        (&["name~=/:\\\\d{2}/"], true),
        (&["name~=DEBIAN"], false),
        (&["name~=(?i)DEBIAN"], true),
        (&["name~=\"(\""], false),
        (&["other~=/./"], false),
        (&["other~=^$"], true),
        (&["other~=/x*/"], true),
        (&["labels.l~=/1|2/"], true),
        (&["kind==active,name~=debian,labels.l!=2"], true),
        (&["kind==active=x"], false),
        (&["kind.more==active"], true),
    ];
    for (texts, expected) in table {
        let filter = Filter::parse(texts).unwrap();
        assert_eq!(filter.matches(&record()), expected, "{texts:?}");
    }
}

#[test]
fn what_cannot_be_read() {
    let table = [
        (
            "kind=active",
            r#"[kind >|=|< active]: unsupported operator "=""#,
        ),
        (
            "kind===active",
            r#"[kind >|=|< ==active]: unsupported operator "===""#,
        ),
        ("kind==active,", "[kind==active,]: expected field or quoted"),
        ("kind==", "[kind==]: expected value or quoted"),
        ("kind==,a", "[kind== >|,|< a]: expected value or quoted"),
        ("kind==.a", "[kind== >|.|< a]: expected value or quoted"),
        ("kind==a b", "[kind==a >| |< b]: unexpected input:  "),
        (
            "kind , name",
            r#"[kind  >|,|<  name]: expected an operator ("=="|"!="|"~=")"#,
        ),
        (
            "my-label",
            r#"[my >|-|< label]: expected an operator ("=="|"!="|"~=")"#,
        ),
        ("==a", "[ >|=|< =a]: expected field or quoted"),
        (" ", "[ ]: expected field or quoted"),
        ("a.", "[a.]: expected field or quoted"),
        ("a..b", "[a. >|.|< b]: expected field or quoted"),
        ("/a/==b", "[ >|/|< a/==b]: invalid quote encountered"),
        ("a==/b/", "[a== >|/|< b/]: invalid quote encountered"),
        ("a==\"b", "[a== >|\"|< b]: quoted literal not terminated"),
        (r#"a=="\d""#, r#"[a== >|"|< \d"]: illegal escape sequence"#),
        (
            r#"a=="\xg""#,
            r#"[a== >|"|< \xg"]: illegal numeric escape sequence"#,
        ),
        (
            r#"a=="\777""#,
            r#"[a== >|"|< \777"]: unquoting failed: quote syntax error"#,
        ),
        ("a\0", "[a >|\0|< ]: unexpected null"),
        ("a==b\0", "[a==b >|\0|< ]: unexpected input: \u{fffd}"),
        ("é==b", "[ >|é|< ==b]: expected field or quoted"),
    ];
    for (text, expected) in table {
        let error = Filter::parse(&[text]).unwrap_err();
        let expected = format!("filters: parse error: {expected}");
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

/// Text of the characters that mean something to the parser, and of any others.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z_.,=!~ |/\"\\\\]{1,3}",
        r"\\[xuU0-7abn][0-9a-f]{0,8}",
        r"labels\.[a-z]+(==|!=|~=)",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in text()) {
        match Filter::parse(&[&text]) {
            Ok(filter) => drop(filter.matches(&record())),
            Err(error) => {
                prop_assert!(error.position <= text.len());
                prop_assert!(error.to_string().starts_with("filters: parse error: ["));
            }
        }
    }

    #[test]
    fn any_value_in_quotes_is_found(value in any::<String>()) {
        let labels = Labels::from([(value.clone(), value.clone())]);
        let escapes: Vec<_> = value
            .chars()
            .map(|c| format!("\\U{:08x}", u32::from(c)))
            .collect();
        let quoted = escapes.concat();
        let text = format!("labels.\"{quoted}\"==\"{quoted}\"");
        let filter = Filter::parse(&[text]).unwrap();
        let record = Record { labels };
        prop_assert!(filter.matches(&record));
    }
}
