//! Pushing to a registry that fails in every way that real ones do.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use mica::oci::{Descriptor, Digest, MediaType};
use mica::registry::{Client, Credentials, Error, Options, Pushed, PushedBlob};

use crate::blobs::quick_options;
use crate::support::{Answer, Registry, Request};

const BLOB: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;
const UPLOADS: &str = "POST /v2/team/app/blobs/uploads/";

fn options() -> Options {
    Options {
        push: true,
        credentials: Some("me:secret".parse::<Credentials>().unwrap()),
        ..quick_options()
    }
}

fn client(registry: &Registry) -> Client {
    let reference = format!("{}/team/app:v1", registry.host()).parse().unwrap();
    Client::new(reference, &options()).unwrap()
}

fn descriptor() -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, BLOB)
}

fn blob(chunk: Option<u64>, sources: &[&str]) -> PushedBlob {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(BLOB).unwrap();
    let file: File = file;
    PushedBlob {
        descriptor: descriptor(),
        file: Arc::new(file),
        sources: sources.iter().map(|&source| source.to_owned()).collect(),
        chunk,
        told: Arc::new(|_| {}),
    }
}

/// A session under this name, at the registry itself.
fn session(status: u16, name: &str) -> Answer {
    Answer::status(status).header("Location", format!("/up/{name}"))
}

fn range(answer: Answer, range: &str) -> Answer {
    answer.header("Range", range)
}

/// A registry without the blob that begins an upload when it is asked.
fn registry() -> Registry {
    let registry = Registry::start();
    registry.on(UPLOADS, [session(202, "1")]);
    registry
}

/// What was sent to a session: method, name, `Content-Range` and body.
fn sent(registry: &Registry) -> Vec<String> {
    let line = |request: &Request| {
        let path = request.path.strip_prefix("/up/")?;
        let name = path.split('?').next()?;
        let range = request.header("content-range").unwrap_or("-");
        Some(format!(
            "{} {name} {range} {}",
            request.method, request.body
        ))
    };
    registry.requests().iter().filter_map(line).collect()
}

fn text() -> &'static str {
    std::str::from_utf8(BLOB).unwrap()
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_sent() {
    let registry = registry();
    let path = format!("HEAD /v2/team/app/blobs/{}", descriptor().digest);
    registry.on(&path, [Answer::ok(BLOB)]);
    let pushed = client(&registry).push_blob(&blob(None, &["other"])).await;
    assert_eq!(pushed.unwrap(), Pushed::Exists);
    assert_eq!(registry.lines(), [path]);
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted_or_else_uploaded() {
    for (answer, expected) in [
        (Answer::status(201), Pushed::Mounted),
        (session(202, "m"), Pushed::Uploaded),
        (Answer::refusal(403, "not yours"), Pushed::Uploaded),
    ] {
        let registry = registry();
        let digest = descriptor().digest.to_string().replace(':', "%3A");
        registry.on(
            &format!("{UPLOADS}?mount={digest}&from=library%2Fbase"),
            [answer],
        );
        registry.on("PUT /up/m", [Answer::status(201)]);
        registry.on("PUT /up/1", [Answer::status(201)]);
        let pushed = client(&registry)
            .push_blob(&blob(None, &["library/base"]))
            .await;
        assert_eq!(pushed.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_blob_is_sent_in_one_request() {
    let registry = registry();
    registry.on("PUT /up/1", [Answer::status(201)]);
    let pushed = client(&registry).push_blob(&blob(None, &[])).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    let requests = registry.requests();
    let put = requests.last().unwrap();
    assert!(put.path.contains("digest=sha256%3A"), "{}", put.path);
    assert_eq!(put.header("content-length"), Some("36"));
    assert_eq!(put.header("content-type"), Some("application/octet-stream"));
    assert_eq!(put.body, text());
}

#[tokio::test]
async fn a_blob_is_sent_in_chunks_where_that_is_wanted() {
    let short = range(session(202, "2"), "0-13");
    for (why, least, second, expected) in [
        (
            "on request",
            None,
            range(session(202, "3"), "0-31"),
            vec!["16-31 ghijklmnopqrstuv", "32-35 wxyz"],
        ),
        (
            "the registry wants more",
            Some("20"),
            session(202, "3"),
            vec!["20-35 klmnopqrstuvwxyz"],
        ),
    ] {
        let registry = registry();
        let begun = match least {
            Some(least) => session(202, "1").header("OCI-Chunk-Min-Length", least),
            None => session(202, "1"),
        };
        registry.on(UPLOADS, [begun]);
        registry.on("PATCH /up/1", [session(202, "2")]);
        registry.on("PATCH /up/2", [second]);
        registry.on("PATCH /up/3", [session(202, "4")]);
        for name in ["3", "4"] {
            registry.on(&format!("PUT /up/{name}"), [Answer::status(201)]);
        }
        client(&registry)
            .push_blob(&blob(Some(16), &[]))
            .await
            .unwrap();
        let sent = sent(&registry);
        let chunks: Vec<&str> = sent[1..sent.len() - 1]
            .iter()
            .map(|line| &line["PATCH 2 ".len()..])
            .collect();
        assert_eq!(chunks, expected, "{why}");
        assert!(sent.last().unwrap().starts_with("PUT"), "{why}");
        assert!(
            sent.last().unwrap().ends_with("- "),
            "{why}: it holds nothing"
        );
    }
    // The registry says that it has taken less than was sent.
    let registry = registry();
    registry.on("PATCH /up/1", [short]);
    registry.on("PATCH /up/2", [session(202, "2")]);
    registry.on("PUT /up/2", [Answer::status(201)]);
    client(&registry)
        .push_blob(&blob(Some(18), &[]))
        .await
        .unwrap();
    assert_eq!(sent(&registry)[1], "PATCH 2 14-31 efghijklmnopqrstuv");
}

#[tokio::test]
async fn chunks_become_smaller_where_the_registry_finds_them_too_large() {
    let registry = registry();
    let mut file = tempfile::tempfile().unwrap();
    let bytes = vec![b'a'; 3 << 20];
    file.write_all(&bytes).unwrap();
    registry.on("PUT /up/1", [Answer::status(413), Answer::status(201)]);
    registry.on("PATCH /up/1", [session(202, "1")]);
    let large = PushedBlob {
        descriptor: Descriptor::of(MediaType::OCI_LAYER, &bytes),
        file: Arc::new(file),
        ..blob(None, &[])
    };
    client(&registry).push_blob(&large).await.unwrap();
    let lengths: Vec<usize> = registry
        .requests()
        .iter()
        .filter(|r| r.method == "PATCH")
        .map(|r| r.body.len())
        .collect();
    assert_eq!(lengths, [3 << 19, 3 << 19]);
}

#[tokio::test]
async fn a_cut_upload_goes_on_where_the_registry_says() {
    for (why, status, expected) in [
        (
            "there is a part",
            range(session(204, "2"), "0-9"),
            vec![
                "GET 1 - ",
                "PATCH 2 10-35 abcdefghijklmnopqrstuvwxyz",
                "PUT 2 - ",
            ],
        ),
        (
            "there is nothing",
            range(session(204, "2"), "0-0"),
            vec!["GET 1 - ", "PUT 2 - 0123456789abcdefghijklmnopqrstuvwxyz"],
        ),
        (
            "there is all of it",
            range(session(204, "2"), "0-35"),
            vec!["GET 1 - ", "PUT 2 - "],
        ),
    ] {
        let registry = registry();
        registry.on("PUT /up/1", [Answer::hangup().cut_request(10)]);
        registry.on("GET /up/1", [status]);
        registry.on("PATCH /up/2", [session(202, "2")]);
        registry.on("PUT /up/2", [Answer::status(201)]);
        let pushed = client(&registry).push_blob(&blob(None, &[])).await;
        assert_eq!(pushed.unwrap(), Pushed::Uploaded, "{why}");
        assert_eq!(sent(&registry)[1..], expected, "{why}");
    }
}

#[tokio::test]
async fn an_upload_that_the_registry_has_forgotten_begins_anew() {
    let registry = registry();
    registry.on(UPLOADS, [session(202, "1"), session(202, "2")]);
    registry.on("PUT /up/1", [Answer::hangup().cut_request(10)]);
    registry.on("GET /up/1", [Answer::refusal(404, "upload unknown")]);
    registry.on("PUT /up/2", [Answer::status(201)]);
    client(&registry).push_blob(&blob(None, &[])).await.unwrap();
    assert_eq!(
        sent(&registry).last().unwrap(),
        &format!("PUT 2 - {}", text())
    );
}

#[tokio::test]
async fn a_registry_that_is_busy_or_fails_is_asked_again_for_a_while() {
    for status in [429, 500, 502, 503] {
        let registry = registry();
        registry.on(UPLOADS, [Answer::status(status), session(202, "1")]);
        registry.on("PUT /up/1", [Answer::status(status), Answer::status(201)]);
        registry.on("GET /up/1", [range(session(204, "1"), "0-0")]);
        client(&registry).push_blob(&blob(None, &[])).await.unwrap();
    }
    let registry = registry();
    registry.on("PUT /up/1", [Answer::status(503)]);
    registry.on("GET /up/1", [range(session(204, "1"), "0-0")]);
    let error = client(&registry)
        .push_blob(&blob(None, &[]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Server { status: 503, .. }),
        "{error}"
    );
    assert_eq!(
        registry
            .lines()
            .iter()
            .filter(|line| line.starts_with("PUT"))
            .count(),
        5
    );
}

#[tokio::test]
async fn a_connection_that_breaks_again_and_again_is_given_up() {
    let registry = registry();
    registry.on("PUT /up/1", [Answer::hangup()]);
    registry.on("GET /up/1", [range(session(204, "1"), "0-0")]);
    let error = client(&registry)
        .push_blob(&blob(None, &[]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_session_without_a_place_is_an_error() {
    let registry = registry();
    registry.on(UPLOADS, [Answer::status(202)]);
    let error = client(&registry)
        .push_blob(&blob(None, &[]))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Header {
                header: "Location",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_refused_digest_is_an_error_with_what_the_registry_says() {
    let registry = registry();
    registry.on(
        "PUT /up/1",
        [Answer::refusal(400, "provided digest did not match")],
    );
    let error = client(&registry)
        .push_blob(&blob(None, &[]))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("provided digest did not match"),
        "{error}"
    );
    let registry = self::registry();
    let other = Digest::sha256(b"other").to_string();
    registry.on(
        "PUT /up/1",
        [Answer::status(201).header("Docker-Content-Digest", other)],
    );
    let error = client(&registry)
        .push_blob(&blob(None, &[]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
}

/// Answers with a challenge to whoever does not say who he is.
fn challenge(registry: &Registry) -> Answer {
    let realm = registry.url("/token");
    let scope = "repository:team/app:pull,push";
    Answer::status(401).header(
        "WWW-Authenticate",
        format!(r#"Bearer realm="{realm}",service="reg",scope="{scope}",error="invalid_token""#),
    )
}

#[tokio::test]
async fn a_token_is_asked_for_to_push_and_again_in_the_middle_of_an_upload() {
    let registry = registry();
    let refused = challenge(&registry);
    let head = format!("HEAD /v2/team/app/blobs/{}", descriptor().digest);
    registry.on(&head, [refused.clone(), Answer::status(404)]);
    registry.on(
        "POST /token",
        [
            Answer::ok(r#"{"token":"one"}"#),
            Answer::ok(r#"{"token":"two"}"#),
        ],
    );
    registry.on("PUT /up/1", [refused, Answer::status(201)]);
    client(&registry).push_blob(&blob(None, &[])).await.unwrap();
    let requests = registry.requests();
    let token = requests
        .iter()
        .find(|request| request.path == "/token")
        .unwrap();
    assert!(
        token.body.contains("repository%3Ateam%2Fapp%3Apull%2Cpush"),
        "{}",
        token.body
    );
    let puts: Vec<_> = requests
        .iter()
        .filter(|request| request.method == "PUT")
        .collect();
    assert_eq!(puts[0].header("authorization"), Some("Bearer one"));
    assert_eq!(puts[1].header("authorization"), Some("Bearer two"));
    assert_eq!(puts[1].body, text(), "the whole of it again");
}

#[tokio::test]
async fn another_host_that_takes_the_bytes_is_not_told_who_the_user_is() {
    let elsewhere = Registry::start();
    elsewhere.on("PUT /store/1", [Answer::status(201)]);
    for is_redirect in [false, true] {
        let registry = registry();
        let head = format!("HEAD /v2/team/app/blobs/{}", descriptor().digest);
        registry.on(&head, [challenge(&registry), Answer::status(404)]);
        registry.on("POST /token", [Answer::ok(r#"{"token":"one"}"#)]);
        let place = elsewhere.url("/store/1");
        if is_redirect {
            registry.on("PUT /up/1", [Answer::redirect(place)]);
        } else {
            registry.on(UPLOADS, [Answer::status(202).header("Location", place)]);
        }
        client(&registry).push_blob(&blob(None, &[])).await.unwrap();
    }
    for request in elsewhere.requests() {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.body, text());
    }
    assert_eq!(elsewhere.requests().len(), 2);
}

#[tokio::test]
async fn a_manifest_is_put_with_its_type_and_tried_again() {
    let registry = registry();
    let manifest = Descriptor::of(MediaType::OCI_MANIFEST, MANIFEST);
    registry.on(
        "PUT /v2/team/app/manifests/v1",
        [Answer::status(503), Answer::status(201)],
    );
    client(&registry)
        .push_manifest(&manifest, MANIFEST, "v1")
        .await
        .unwrap();
    let requests = registry.requests();
    assert_eq!(
        requests[1].header("content-type"),
        Some(MediaType::OCI_MANIFEST)
    );
    assert_eq!(requests[1].body.as_bytes(), MANIFEST);
    assert!(!client(&registry).has_manifest(&manifest).await.unwrap());
}
