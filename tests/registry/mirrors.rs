//! Several servers for one registry: their order, what happens when one of them fails, and what
//! each is told.

use crate::blobs::{content, layer, quick_options, read};
use crate::support::{Answer, Registry};
use mica::oci::{Descriptor, Digest, MediaType};
use mica::registry::{Client, Credentials, Error, Options};
use tempfile::TempDir;

const MANIFEST: &str = r#"{"schemaVersion":2}"#;
const BY_TAG: &str = "/v2/team/app/manifests/v1";

/// A registry with a mirror before it.
struct Pair {
    mirror: Registry,
    registry: Registry,
    /// The directory of their configuration.
    dir: TempDir,
}

impl Pair {
    /// Configures the mirror with these lines.
    fn new(lines: &str) -> Self {
        let (mirror, registry) = (Registry::start(), Registry::start());
        let dir = tempfile::tempdir().unwrap();
        let pair = Self {
            mirror,
            registry,
            dir,
        };
        pair.configure(&format!("[host.\"{}\"]\n{lines}\n", pair.mirror.url("")));
        pair
    }

    fn configure(&self, text: &str) {
        let path = self.dir.path().join(self.registry.host());
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("hosts.toml"), text).unwrap();
    }

    fn client(&self, credentials: Credentials) -> Client {
        let options = Options {
            hosts_dirs: vec![self.dir.path().to_owned()],
            credentials: Some(credentials),
            ..quick_options()
        };
        let reference = format!("{}/team/app:v1", self.registry.host());
        Client::new(reference.parse().unwrap(), &options).unwrap()
    }

    fn anonymous(&self) -> Client {
        self.client(Credentials::Anonymous)
    }

    /// The path of a request to the mirror, which serves others too.
    fn at_mirror(&self, path: &str) -> String {
        let namespace = self.registry.host().replace(':', "%3A");
        format!("{path}?ns={namespace}")
    }
}

fn manifest_answer() -> Answer {
    Answer::ok(MANIFEST)
        .header("Content-Type", MediaType::OCI_MANIFEST)
        .header(
            "Docker-Content-Digest",
            Digest::sha256(MANIFEST.as_bytes()).to_string(),
        )
}

fn get(descriptor: &Descriptor) -> String {
    format!("GET /v2/team/app/blobs/{}", descriptor.digest)
}

async fn fetch(client: &Client, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    read(client.fetch(descriptor, 0).await?).await
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_told_for_whom() {
    let pair = Pair::new("");
    pair.mirror
        .on(&format!("HEAD {BY_TAG}"), [manifest_answer()]);
    pair.anonymous().resolve().await.unwrap();
    let expected = format!("HEAD {}", pair.at_mirror(BY_TAG));
    assert_eq!(pair.mirror.lines(), [expected]);
    assert!(pair.registry.lines().is_empty());
}

#[tokio::test]
async fn what_a_mirror_does_not_give_the_registry_gives() {
    let failures = [
        ("404", Answer::status(404)),
        ("401", Answer::status(401)),
        ("403", Answer::status(403)),
        ("429", Answer::status(429).header("Retry-After", "3600")),
        ("500", Answer::status(500)),
        ("hang-up", Answer::hangup()),
        ("another size", Answer::ok("short")),
        ("a redirect to nowhere", Answer::status(307)),
    ];
    for (why, answer) in failures {
        let pair = Pair::new("");
        let descriptor = layer(&content());
        pair.mirror
            .on(&format!("HEAD {BY_TAG}"), [answer.clone()])
            .on(&format!("GET {BY_TAG}"), [answer.clone()])
            .on(&get(&descriptor), [answer]);
        pair.registry
            .on(&format!("HEAD {BY_TAG}"), [manifest_answer()])
            .on(&get(&descriptor), [Answer::ok(content())]);
        let client = pair.anonymous();
        let resolved = client.resolve().await;
        if why != "another size" {
            assert_eq!(resolved.unwrap().size, 19, "{why}");
        }
        assert_eq!(
            fetch(&client, &descriptor).await.unwrap(),
            content(),
            "{why}"
        );
        assert!(
            !pair.mirror.lines().is_empty(),
            "{why}: the mirror was asked"
        );
        let asked = pair.registry.lines();
        assert!(asked.iter().all(|line| !line.contains("ns=")), "{asked:?}");
    }
}

#[tokio::test]
async fn the_fallback_is_for_each_blob() {
    let pair = Pair::new("");
    let (here, there) = (layer(b"here"), layer(b"there"));
    pair.mirror.on(&get(&here), [Answer::ok("here")]);
    pair.registry.on(&get(&there), [Answer::ok("there")]);
    let client = pair.anonymous();
    assert_eq!(fetch(&client, &there).await.unwrap(), b"there");
    assert_eq!(fetch(&client, &here).await.unwrap(), b"here");
    assert_eq!(pair.mirror.lines().len(), 2);
    assert_eq!(pair.registry.lines(), [get(&there)]);
}

#[tokio::test]
async fn a_body_that_keeps_breaking_is_finished_by_the_registry() {
    let pair = Pair::new("");
    let descriptor = layer(&content());
    pair.mirror.on(
        &get(&descriptor),
        [
            Answer::ok(content()).cut_after(1000),
            Answer::partial(&content(), 1000).stall_after(0),
        ],
    );
    pair.registry
        .on(&get(&descriptor), [Answer::partial(&content(), 1000)]);
    let fetched = fetch(&pair.anonymous(), &descriptor).await.unwrap();
    assert_eq!(fetched, content());
    let last = pair.registry.requests().pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=1000-"));
}

#[tokio::test]
async fn a_mirror_that_gave_wrong_bytes_is_not_asked_for_them_again() {
    let pair = Pair::new("");
    let descriptor = layer(b"right");
    pair.mirror.on(&get(&descriptor), [Answer::ok("wrong")]);
    pair.registry.on(&get(&descriptor), [Answer::ok("right")]);
    let client = pair.anonymous();
    assert_eq!(fetch(&client, &descriptor).await.unwrap(), b"wrong");
    assert!(client.distrust(&descriptor.digest));
    assert_eq!(fetch(&client, &descriptor).await.unwrap(), b"right");
    assert!(!client.distrust(&descriptor.digest), "nobody is left");
}

#[tokio::test]
async fn the_last_host_is_the_one_whose_answer_is_told() {
    let pair = Pair::new("");
    pair.mirror
        .on(&format!("HEAD {BY_TAG}"), [Answer::status(500)]);
    let error = pair.anonymous().resolve().await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound(refusal) if refusal.host == pair.registry.host()),
        "{error}"
    );
}

#[tokio::test]
async fn credentials_are_for_the_registry_and_headers_for_the_mirror() {
    let pair = Pair::new(r#"header = { x-key = "mirror-secret" }"#);
    let basic = Answer::status(401).header("WWW-Authenticate", "Basic realm=x");
    let descriptor = layer(b"x");
    pair.mirror.on(&get(&descriptor), [basic.clone()]);
    pair.registry
        .on(&get(&descriptor), [basic, Answer::ok("x")]);
    let client = pair.client("me:secret".parse().unwrap());
    assert_eq!(fetch(&client, &descriptor).await.unwrap(), b"x");
    for request in pair.mirror.requests() {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("x-key"), Some("mirror-secret"));
    }
    let shown: Vec<_> = pair.registry.requests();
    assert_eq!(shown[1].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert!(shown.iter().all(|r| r.header("x-key").is_none()));
}

#[tokio::test]
async fn headers_of_a_host_do_not_follow_a_redirect() {
    let pair = Pair::new(r#"header = { x-key = "secret" }"#);
    let other = Registry::start();
    let descriptor = layer(b"x");
    pair.mirror
        .on(&get(&descriptor), [Answer::redirect(other.url("/far"))]);
    other.on("GET /far", [Answer::ok("x")]);
    assert_eq!(fetch(&pair.anonymous(), &descriptor).await.unwrap(), b"x");
    assert_eq!(other.requests()[0].header("x-key"), None);
}

#[tokio::test]
async fn hosts_are_asked_for_what_they_are_said_to_have() {
    let pair = Pair::new(r#"capabilities = ["pull"]"#);
    let descriptor = layer(b"x");
    pair.mirror.on(&get(&descriptor), [Answer::ok("x")]);
    pair.registry
        .on(&format!("HEAD {BY_TAG}"), [manifest_answer()]);
    let client = pair.anonymous();
    client.resolve().await.unwrap();
    fetch(&client, &descriptor).await.unwrap();
    assert_eq!(pair.mirror.lines().len(), 1);
    assert_eq!(pair.registry.lines(), [format!("HEAD {BY_TAG}")]);

    pair.configure(&format!(
        "server = \"{}\"\ncapabilities = [\"resolve\"]\n",
        pair.registry.url("")
    ));
    let error = fetch(&pair.anonymous(), &descriptor).await.unwrap_err();
    assert!(matches!(error, Error::NoHost { action: "pull", .. }));
    assert!(error.to_string().contains(&pair.registry.host()));
}

#[tokio::test]
async fn a_path_of_its_own_is_taken_as_it_is() {
    let pair = Pair::new("");
    pair.configure(&format!(
        "server = \"{}\"\noverride_path = true\n",
        pair.mirror.url("/v2/proxy")
    ));
    let path = "/v2/proxy/team/app/manifests/v1";
    pair.mirror.on(&format!("HEAD {path}"), [manifest_answer()]);
    pair.anonymous().resolve().await.unwrap();
    assert_eq!(
        pair.mirror.lines(),
        [format!("HEAD {}", pair.at_mirror(path))]
    );
    assert!(pair.registry.lines().is_empty(), "the server replaces it");
}

#[tokio::test]
async fn a_mirror_that_is_down_is_tried_once() {
    let pair = Pair::new("");
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    pair.configure(&format!("[host.\"http://{closed}\"]\n"));
    let descriptor = layer(b"x");
    pair.registry.on(&get(&descriptor), [Answer::ok("x")]);
    let client = pair.anonymous();
    for _ in 0..3 {
        assert_eq!(fetch(&client, &descriptor).await.unwrap(), b"x");
    }
    assert_eq!(pair.registry.lines().len(), 3);
}

#[tokio::test]
async fn urls_of_a_descriptor_go_before_the_registry_without_credentials() {
    let (registry, other) = (Registry::start(), Registry::start());
    let bytes = content();
    let descriptor = Descriptor {
        urls: vec![
            "ftp://h.io/x".to_owned(),
            other.url("/gone"),
            other.url("/here"),
        ],
        ..layer(&bytes)
    };
    registry.on(&get(&descriptor), [Answer::ok(bytes.clone())]);
    other.on(
        "GET /here",
        [
            Answer::ok(bytes.clone()).cut_after(7),
            Answer::partial(&bytes, 7),
        ],
    );
    let options = Options {
        credentials: Some("me:secret".parse().unwrap()),
        ..Options::default()
    };
    let reference = format!("{}/team/app:v1", registry.host());
    let client = Client::new(reference.parse().unwrap(), &options).unwrap();
    assert_eq!(fetch(&client, &descriptor).await.unwrap(), bytes);
    assert_eq!(
        other.lines(),
        ["GET /gone", "GET /here", "GET /gone", "GET /here"]
    );
    let told = |request: &crate::support::Request| request.header("authorization").is_some();
    assert!(!other.requests().iter().any(told));
    assert!(registry.lines().is_empty());
    assert!(client.distrust(&descriptor.digest), "the registry is left");
    assert_eq!(fetch(&client, &descriptor).await.unwrap(), bytes);
    assert_eq!(registry.lines(), [get(&descriptor)]);
}
