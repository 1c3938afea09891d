//! Directories of hosts, as files on the disk.

use std::path::Path;

use super::*;

/// Resolves a reference with one root of directories.
fn resolve_in(root: &Path, reference: &str) -> Result<Vec<Host>, HostsError> {
    let directories = [root.to_owned()];
    let habits = Habits {
        directories: &directories,
        plain_http: false,
        insecure: false,
    };
    resolve(&reference.parse().unwrap(), habits)
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn urls(hosts: &[Host]) -> Vec<&str> {
    hosts.iter().map(|host| host.base.as_str()).collect()
}

#[test]
fn registries_without_a_directory() {
    let https = |url: &str| (url.to_owned(), None, false);
    let cases = [
        ("alpine", https("https://registry-1.docker.io/v2")),
        ("h.io:5000/a/b", https("https://h.io:5000/v2")),
        ("localhost.io/a", https("https://localhost.io/v2")),
        ("10.0.0.1:80/a", https("https://10.0.0.1:80/v2")),
        (
            "localhost:5000/a",
            (
                "http://localhost:5000/v2".to_owned(),
                Some("https://localhost:5000/v2"),
                true,
            ),
        ),
        (
            "localhost/a",
            (
                "http://localhost/v2".to_owned(),
                Some("https://localhost/v2"),
                true,
            ),
        ),
        (
            "127.0.0.2:80/a",
            ("http://127.0.0.2/v2".to_owned(), None, true),
        ),
        ("[::1]:443/a", ("https://[::1]/v2".to_owned(), None, true)),
    ];
    let root = tempfile::tempdir().unwrap();
    for (reference, (base, other, skip_verify)) in cases {
        let hosts = resolve_in(root.path(), reference).unwrap();
        assert_eq!(urls(&hosts), [base], "{reference}");
        let found = hosts[0].other.as_ref().map(Url::as_str);
        assert_eq!(found, other, "{reference}");
        assert_eq!(hosts[0].tls.skip_verify, skip_verify, "{reference}");
        assert!(hosts[0].is_registry, "{reference}");
    }
    let bad = resolve_in(root.path(), "999.0.0.1:80/a").unwrap_err();
    assert_eq!(bad.to_string(), "\"999.0.0.1:80\" is not a host");
}

#[test]
fn what_the_user_says_of_tls() {
    let table = [
        ("h.io/a", true, false, "http://h.io/v2", None),
        (
            "h.io/a",
            false,
            true,
            "https://h.io/v2",
            Some("http://h.io/v2"),
        ),
        ("localhost:9/a", true, true, "http://localhost:9/v2", None),
    ];
    for (reference, plain_http, insecure, base, other) in table {
        let habits = Habits {
            directories: &[],
            plain_http,
            insecure,
        };
        let hosts = resolve(&reference.parse().unwrap(), habits).unwrap();
        assert_eq!(urls(&hosts), [base], "{reference}");
        assert_eq!(
            hosts[0].other.as_ref().map(Url::as_str),
            other,
            "{reference}"
        );
    }
}

#[test]
fn the_directory_of_a_registry_goes_before_the_default_one() {
    let root = tempfile::tempdir().unwrap();
    let server = |name: &str| format!("server = \"https://{name}.io\"\n");
    write(root.path(), "_default/hosts.toml", &server("default"));
    write(root.path(), "h.io/hosts.toml", &server("plain"));
    write(root.path(), "h.io_5000_/hosts.toml", &server("underscores"));
    write(root.path(), "h.io:5000/hosts.toml", &server("colon"));
    write(root.path(), "h.io:6000/hosts.toml", &server("colon"));
    write(root.path(), "docker.io/hosts.toml", &server("hub"));
    let cases = [
        ("h.io/a", "https://plain.io/v2"),
        ("h.io:5000/a", "https://underscores.io/v2"),
        ("h.io:6000/a", "https://colon.io/v2"),
        ("h.io:7000/a", "https://default.io/v2"),
        ("alpine", "https://hub.io/v2"),
        ("localhost:5000/a", "https://default.io/v2"),
    ];
    for (reference, expected) in cases {
        let hosts = resolve_in(root.path(), reference).unwrap();
        assert_eq!(urls(&hosts), [expected], "{reference}");
        assert!(!hosts[0].is_registry, "{reference}");
    }
}

#[test]
fn hosts_are_asked_in_the_order_of_the_file_and_the_server_last() {
    let root = tempfile::tempdir().unwrap();
    let text = r#"
        [host."https://z.io:5000"]
          capabilities = ["pull", "Resolve"]
          dial_timeout = "2s"
          [host."https://z.io:5000".header]
            x-one = "1"
            x-two = ["2", "3"]
        [host."http://a.io/v2/hub"]
          override_path = true
          skip_verify = true
          unknown = 1
    "#;
    write(root.path(), "h.io/hosts.toml", text);
    let hosts = resolve_in(root.path(), "h.io/a").unwrap();
    let expected = [
        "https://z.io:5000/v2",
        "http://a.io/v2/hub",
        "https://h.io/v2",
    ];
    assert_eq!(urls(&hosts), expected);
    let [first, second, last] = hosts.as_slice() else {
        panic!()
    };
    assert!(!first.capabilities.push && first.capabilities.pull && first.capabilities.resolve);
    assert_eq!(first.connect, Some(Duration::from_secs(2)));
    assert_eq!(first.headers["x-one"], "1");
    assert_eq!(first.headers.get_all("x-two").iter().count(), 2);
    assert!(second.tls.skip_verify && second.capabilities.push);
    assert!(last.is_registry && !first.is_registry);

    let named = format!("server = \"https://h.io\"\n{text}");
    write(root.path(), "h.io/hosts.toml", &named);
    let hosts = resolve_in(root.path(), "h.io/a").unwrap();
    assert_eq!(urls(&hosts), expected);
    assert!(hosts[2].is_registry);
}

#[test]
fn broken_files_say_what_is_wrong_and_where() {
    let cases = [
        ("[host", "is not valid TOML"),
        ("server = 5", "the top level in "),
        (
            "[host.\"https://m.io\"]\nskip_verify = \"yes\"",
            "[host.\"https://m.io\"] in ",
        ),
        (
            "[host.\"https://m.io\"]\ncapabilities = [\"fetch\"]",
            "\"fetch\"",
        ),
        (
            "[host.\"https://m.io\"]\ndial_timeout = \"soon\"",
            "dial_timeout = \"soon\"",
        ),
        ("[host.\"ftp://m.io\"]", "neither http nor https"),
        ("host = 1", "[host] in "),
        ("ca = 7", "the top level in "),
        ("ca = \"none.pem\"", "read "),
        ("ca = \"hosts.toml\"", "holds no certificate"),
        (
            "client = [[\"hosts.toml\", \"hosts.toml\"]]",
            "is not a client certificate",
        ),
        ("[header]\n\"a b\" = \"1\"", "is not the name of a header"),
    ];
    for (text, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "h.io/hosts.toml", text);
        let error = resolve_in(root.path(), "h.io/a").unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{text}: {message}");
        assert!(message.contains("h.io/"), "{text}: {message}");
    }
}

#[test]
fn a_directory_without_a_file_holds_certificates() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "h.io/ca.crt", "nothing");
    let error = resolve_in(root.path(), "h.io/a").unwrap_err();
    assert!(matches!(error, HostsError::Certificate { .. }), "{error}");
    write(root.path(), "g.io/notes.txt", "nothing");
    write(root.path(), "g.io/hosts.toml", "");
    let hosts = resolve_in(root.path(), "g.io/a").unwrap();
    assert_eq!(urls(&hosts), ["https://g.io/v2"]);
    write(root.path(), "f.io/client.cert", "nothing");
    let error = resolve_in(root.path(), "f.io/a").unwrap_err();
    assert!(matches!(error, HostsError::Identity { .. }), "{error}");
}
