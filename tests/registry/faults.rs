//! One server: what is asked of it, and what becomes of its faults.

use std::time::{Duration, Instant};

use crate::blobs::{content, layer, quick_options, read};
use crate::support::{Answer, Registry};
use mica::oci::{Descriptor, Digest, MediaType};
use mica::registry::{Client, Credentials, Error, Options, Secret};

const MANIFEST: &str = r#"{"schemaVersion":2}"#;
const BY_TAG: &str = "/v2/team/app/manifests/v1";

fn options() -> Options {
    Options {
        credentials: Some(Credentials::Anonymous),
        ..quick_options()
    }
}

fn as_user() -> Options {
    Options {
        credentials: Some("me:secret".parse().unwrap()),
        ..options()
    }
}

fn client(registry: &Registry, options: &Options) -> Client {
    let reference = format!("{}/team/app:v1", registry.host()).parse().unwrap();
    Client::new(reference, options).unwrap()
}

fn manifest_answer() -> Answer {
    Answer::ok(MANIFEST)
        .header("Content-Type", MediaType::OCI_MANIFEST)
        .header(
            "Docker-Content-Digest",
            Digest::sha256(MANIFEST.as_bytes()).to_string(),
        )
}

fn challenge(registry: &Registry, extra: &str) -> Answer {
    let realm = registry.url("/token");
    let scope = "repository:team/app:pull";
    Answer::status(401).header(
        "WWW-Authenticate",
        format!(r#"Bearer realm="{realm}",service="reg",scope="{scope}"{extra}"#),
    )
}

fn blob_path(descriptor: &Descriptor) -> String {
    format!("/v2/team/app/blobs/{}", descriptor.digest)
}

/// Fetches the content from `offset` on from a registry with these answers.
async fn fetch(offset: u64, answers: &[Answer]) -> (Registry, Result<Vec<u8>, Error>) {
    let registry = Registry::start();
    let descriptor = layer(&content());
    registry.on(&format!("GET {}", blob_path(&descriptor)), answers);
    let result = match client(&registry, &options())
        .fetch(&descriptor, offset)
        .await
    {
        Ok(blob) => read(blob).await,
        Err(error) => Err(error),
    };
    (registry, result)
}

/// Resolves the tag at a registry with these answers to HEAD and GET.
async fn resolve(head: &[Answer], get: &[Answer]) -> (Registry, Result<Descriptor, Error>) {
    let registry = Registry::start();
    registry
        .on(&format!("HEAD {BY_TAG}"), head)
        .on(&format!("GET {BY_TAG}"), get);
    let result = client(&registry, &options()).resolve().await;
    (registry, result)
}

#[tokio::test]
async fn a_head_request_resolves() {
    let (registry, resolved) = resolve(&[manifest_answer()], &[Answer::status(500)]).await;
    assert_eq!(
        resolved.unwrap(),
        Descriptor::of(MediaType::OCI_MANIFEST, MANIFEST.as_bytes())
    );
    assert_eq!(registry.lines(), [format!("HEAD {BY_TAG}")]);
    let accept = registry.requests()[0].header("accept").unwrap().to_owned();
    for media_type in [MediaType::OCI_INDEX, MediaType::DOCKER_MANIFEST, "*/*"] {
        assert!(accept.contains(media_type), "{accept}");
    }
}

#[tokio::test]
async fn a_refused_or_incomplete_head_is_asked_again_by_get() {
    let without_digest = Answer::ok(MANIFEST).header("Content-Type", MediaType::OCI_MANIFEST);
    for head in [
        Answer::status(405),
        Answer::status(403),
        without_digest.clone(),
    ] {
        let (registry, resolved) = resolve(&[head], std::slice::from_ref(&without_digest)).await;
        let expected = Descriptor::of(MediaType::OCI_MANIFEST, MANIFEST.as_bytes());
        assert_eq!(resolved.unwrap(), expected);
        assert_eq!(
            registry.lines(),
            [format!("HEAD {BY_TAG}"), format!("GET {BY_TAG}")]
        );
    }
}

#[tokio::test]
async fn a_digest_that_is_not_a_manifest_is_looked_for_among_the_blobs() {
    let registry = Registry::start();
    let digest = Digest::sha256(MANIFEST.as_bytes());
    registry.on(
        &format!("HEAD /v2/team/app/blobs/{digest}"),
        [manifest_answer()],
    );
    let reference = format!("{}/team/app@{digest}", registry.host())
        .parse()
        .unwrap();
    let resolved = Client::new(reference, &options())
        .unwrap()
        .resolve()
        .await
        .unwrap();
    assert_eq!(resolved.digest, digest);
    assert_eq!(registry.requests().len(), 2);
}

#[tokio::test]
async fn statuses_become_errors_that_say_what_and_where() {
    let refusal = |status| vec![Answer::refusal(status, "the reason")];
    for (status, expected) in [
        (403, "access denied to"),
        (404, "not found: "),
        (429, "too many requests: "),
        (500, "server error 500: "),
        (418, "unexpected status 418: "),
    ] {
        let (registry, resolved) = resolve(&refusal(status), &refusal(status)).await;
        let message = resolved.unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
        let place = format!("{host}/team/app:v1 at {host}", host = registry.host());
        assert!(message.contains(&place), "{message}");
    }
    let (_, resolved) = resolve(&refusal(403), &refusal(403)).await;
    assert!(resolved.unwrap_err().to_string().ends_with("(the reason)"));
}

#[tokio::test]
async fn busy_servers_are_asked_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let answers = [
            Answer::status(status),
            Answer::status(status),
            manifest_answer(),
        ];
        let (registry, resolved) = resolve(&answers, &[]).await;
        assert!(resolved.is_ok(), "{status}");
        assert_eq!(registry.requests().len(), 3, "{status}");
    }
    let (registry, resolved) = resolve(&[Answer::status(503)], &[]).await;
    assert!(matches!(resolved, Err(Error::Server { status: 503, .. })));
    assert_eq!(registry.requests().len(), 5);
}

#[tokio::test]
async fn retry_after_is_honoured_within_bounds() {
    let begin = Instant::now();
    let busy = |after: &str| Answer::status(429).header("Retry-After", after);
    let (_, resolved) = resolve(&[busy("1"), manifest_answer()], &[]).await;
    assert!(resolved.is_ok());
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let (registry, resolved) = resolve(&[busy("3600"), manifest_answer()], &[]).await;
    let expected = Some(Duration::from_secs(3600));
    assert!(matches!(
        resolved,
        Err(Error::TooManyRequests { retry_after, .. }) if retry_after == expected
    ));
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_registry_that_hangs_up_or_is_down_is_unreachable() {
    let (registry, resolved) = resolve(&[Answer::hangup(), manifest_answer()], &[]).await;
    assert!(resolved.is_ok());
    assert_eq!(registry.requests().len(), 2);
    let (_, resolved) = resolve(&[Answer::hangup()], &[]).await;
    assert!(
        matches!(resolved, Err(Error::Unreachable { .. })),
        "{resolved:?}"
    );
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let reference = format!("{closed}/a:1").parse().unwrap();
    let error = Client::new(reference, &options())
        .unwrap()
        .resolve()
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Unreachable { host, .. } if *host == closed.to_string()));
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_kept() {
    let registry = Registry::start();
    let descriptor = layer(b"x");
    let blob = blob_path(&descriptor);
    registry
        .on(
            &format!("HEAD {BY_TAG}"),
            [challenge(&registry, ""), manifest_answer()],
        )
        .on(
            "GET /token",
            [Answer::ok(r#"{"token":"tok","expires_in":300}"#)],
        )
        .on(&format!("GET {blob}"), [Answer::ok("x")]);
    let client = client(&registry, &options());
    client.resolve().await.unwrap();
    read(client.fetch(&descriptor, 0).await.unwrap())
        .await
        .unwrap();
    let requests = registry.requests();
    let lines = registry.lines();
    assert_eq!(
        lines[1],
        "GET /token?service=reg&scope=repository%3Ateam%2Fapp%3Apull"
    );
    assert_eq!(lines[3], format!("GET {blob}"));
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[1].header("authorization"), None);
    for request in &requests[2..] {
        assert_eq!(request.header("authorization"), Some("Bearer tok"));
    }
}

#[tokio::test]
async fn requests_at_the_same_time_share_one_token() {
    let registry = Registry::start();
    let descriptor = layer(b"x");
    let get = format!("GET {}", blob_path(&descriptor));
    registry
        .on(&get, [challenge(&registry, "")])
        .on(&format!("{get} with authorization"), [Answer::ok("x")])
        .on("GET /token", [Answer::ok(r#"{"token":"tok"}"#)]);
    let client = client(&registry, &options());
    let work = (0..4).map(|_| {
        let (client, descriptor) = (client.clone(), descriptor.clone());
        tokio::spawn(async move { client.fetch(&descriptor, 0).await.map(|_| ()) })
    });
    for task in work.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    let tokens = registry
        .lines()
        .iter()
        .filter(|line| line.contains("/token"))
        .count();
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn a_password_gets_a_token_by_post_or_else_by_get() {
    let registry = Registry::start();
    registry
        .on(
            &format!("HEAD {BY_TAG}"),
            [challenge(&registry, ""), manifest_answer()],
        )
        .on("POST /token", [Answer::ok(r#"{"access_token":"tok"}"#)]);
    client(&registry, &as_user()).resolve().await.unwrap();
    let post = &registry.requests()[1];
    for part in [
        "grant_type=password",
        "username=me",
        "password=secret",
        "service=reg",
    ] {
        assert!(post.body.contains(part), "{}", post.body);
    }

    let registry = Registry::start();
    registry
        .on(
            &format!("HEAD {BY_TAG}"),
            [challenge(&registry, ""), manifest_answer()],
        )
        .on("POST /token", [Answer::status(405)])
        .on("GET /token", [Answer::ok(r#"{"token":"tok"}"#)]);
    client(&registry, &as_user()).resolve().await.unwrap();
    let get = &registry.requests()[2];
    assert_eq!(get.header("authorization"), Some("Basic bWU6c2VjcmV0"));
}

#[tokio::test]
async fn basic_credentials_are_shown_when_asked_for() {
    let basic = Answer::status(401).header("WWW-Authenticate", r#"Basic realm="x""#);
    let registry = Registry::start();
    registry.on(
        &format!("HEAD {BY_TAG}"),
        [basic.clone(), manifest_answer()],
    );
    client(&registry, &as_user()).resolve().await.unwrap();
    let requests = registry.requests();
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(
        requests[1].header("authorization"),
        Some("Basic bWU6c2VjcmV0")
    );

    for (options, expected) in [(options(), 1), (as_user(), 2)] {
        let registry = Registry::start();
        registry.on(&format!("HEAD {BY_TAG}"), [basic.clone()]);
        let error = client(&registry, &options).resolve().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized(_)), "{error}");
        assert!(error.hint().unwrap().contains("--user"));
        assert!(!format!("{error:?}").contains("secret"));
        assert_eq!(registry.requests().len(), expected);
    }
}

#[tokio::test]
async fn an_invalid_token_is_replaced_once() {
    let registry = Registry::start();
    let invalid = challenge(&registry, r#",error="invalid_token""#);
    registry
        .on(
            &format!("HEAD {BY_TAG}"),
            [invalid.clone(), invalid.clone(), manifest_answer()],
        )
        .on(
            "GET /token",
            [
                Answer::ok(r#"{"token":"old"}"#),
                Answer::ok(r#"{"token":"new"}"#),
            ],
        );
    client(&registry, &options()).resolve().await.unwrap();
    let last = registry.requests().pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer new"));

    registry.on(&format!("HEAD {BY_TAG}"), [invalid]);
    let before = registry.requests().len();
    let error = client(&registry, &options()).resolve().await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized(_)));
    assert_eq!(registry.requests().len() - before, 5);
}

#[tokio::test]
async fn a_token_that_expires_in_mid_blob_is_renewed() {
    let registry = Registry::start();
    let bytes = content();
    let descriptor = layer(&bytes);
    let expired = challenge(&registry, r#",error="invalid_token""#);
    registry
        .on(
            &format!("GET {}", blob_path(&descriptor)),
            [
                challenge(&registry, ""),
                Answer::ok(bytes.clone()).cut_after(2000),
                expired,
                Answer::partial(&bytes, 2000),
            ],
        )
        .on(
            "POST /token",
            [
                Answer::ok(r#"{"access_token":"first"}"#),
                Answer::ok(r#"{"access_token":"second"}"#),
            ],
        );
    let options = Options {
        credentials: Some(Credentials::IdentityToken(Secret::new("identity"))),
        ..options()
    };
    let client = client(&registry, &options);
    let fetched = client.fetch(&descriptor, 0).await.unwrap();
    assert_eq!(read(fetched).await.unwrap(), bytes);
    let requests = registry.requests();
    let shown: Vec<_> = requests
        .iter()
        .map(|request| request.header("authorization"))
        .collect();
    let (first, second) = (Some("Bearer first"), Some("Bearer second"));
    assert_eq!(shown, [None, None, first, first, None, second]);
    for post in [&requests[1], &requests[4]] {
        for part in ["grant_type=refresh_token", "refresh_token=identity"] {
            assert!(post.body.contains(part), "{}", post.body);
        }
    }
}

#[tokio::test]
async fn a_body_cut_anywhere_comes_whole() {
    let bytes = content();
    let mut state = 0x9e37_79b9_u32;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        usize::try_from(state).unwrap() % below
    };
    for turn in 0..8 {
        let mut at = 0;
        let mut answers = Vec::new();
        for _ in 0..6 {
            // Some servers know no ranges, and send all again.
            let (answer, known) = match random(3) {
                0 => (Answer::ok(bytes.clone()), at),
                _ if at == 0 => (Answer::ok(bytes.clone()), 0),
                _ => (Answer::partial(&bytes, at), 0),
            };
            let new = 1 + random(800);
            answers.push(answer.cut_after(known + new));
            at += new;
        }
        answers.push(Answer::partial(&bytes, at));
        let (registry, fetched) = fetch(0, &answers).await;
        assert_eq!(fetched.unwrap(), bytes, "turn {turn}");
        assert_eq!(registry.requests().len(), 7, "turn {turn}");
    }
}

#[tokio::test]
async fn a_token_service_that_refuses_is_an_error_without_secrets() {
    let registry = Registry::start();
    registry
        .on(&format!("HEAD {BY_TAG}"), [challenge(&registry, "")])
        .on("POST /token", [Answer::status(401)])
        .on("GET /token", [Answer::refusal(401, "wrong password")]);
    let error = client(&registry, &as_user()).resolve().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        matches!(error, Error::Token { .. }) && text.contains("wrong password"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
    assert!(error.hint().is_some());

    registry.on("POST /token", [Answer::ok("{}")]);
    let error = client(&registry, &as_user()).resolve().await.unwrap_err();
    assert!(matches!(error, Error::Token { .. }));
}

#[tokio::test]
async fn who_the_user_is_goes_to_no_other_host() {
    let (registry, other) = (Registry::start(), Registry::start());
    let bytes = content();
    let descriptor = layer(&bytes);
    let blob = blob_path(&descriptor);
    let basic = Answer::status(401).header("WWW-Authenticate", "Basic realm=x");
    registry
        .on(
            &format!("GET {blob}"),
            [basic, Answer::redirect(format!("{blob}/near"))],
        )
        .on(
            &format!("GET {blob}/near"),
            [Answer::redirect(other.url("/far?sig=1"))],
        );
    other.on(
        "GET /far?sig=1",
        [
            Answer::ok(bytes.clone()).cut_after(1000),
            Answer::partial(&bytes, 1000),
        ],
    );
    let fetched = client(&registry, &as_user())
        .fetch(&descriptor, 0)
        .await
        .unwrap();
    assert_eq!(read(fetched).await.unwrap(), bytes);
    let shown: Vec<bool> = registry
        .requests()
        .iter()
        .map(|request| request.header("authorization").is_some())
        .collect();
    assert_eq!(shown, [false, true, true, true, true]);
    let far = other.requests();
    assert_eq!(far.len(), 2);
    assert!(
        far.iter()
            .all(|request| request.header("authorization").is_none())
    );
    assert_eq!(far[1].header("range"), Some("bytes=1000-"));
}

#[tokio::test]
async fn another_host_that_asks_is_not_answered() {
    let (registry, other) = (Registry::start(), Registry::start());
    let descriptor = layer(b"x");
    registry.on(
        &format!("GET {}", blob_path(&descriptor)),
        [Answer::redirect(other.url("/far"))],
    );
    other.on(
        "GET /far",
        [Answer::status(401).header("WWW-Authenticate", "Basic realm=x")],
    );
    let error = client(&registry, &as_user())
        .fetch(&descriptor, 0)
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Unauthorized(refusal) if refusal.host == other.host()));
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test]
async fn redirects_that_lead_nowhere_end() {
    let descriptor = layer(b"x");
    let blob = blob_path(&descriptor);
    let cases = [
        (Answer::redirect(&blob), "go in a circle"),
        (Answer::redirect("ftp://h.io/x"), "leads to a \"ftp\" URL"),
        (Answer::status(307), "has no proper location"),
    ];
    for (answer, expected) in cases {
        let registry = Registry::start();
        registry.on(&format!("GET {blob}"), [answer]);
        let error = client(&registry, &options())
            .fetch(&descriptor, 0)
            .await
            .unwrap_err();
        let Error::Redirect { host, fault, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(host, registry.host());
        assert!(fault.to_string().contains(expected), "{fault}");
    }
}

#[tokio::test]
async fn a_cut_body_is_resumed_where_it_broke() {
    let bytes = content();
    let answers = [
        Answer::ok(bytes.clone()).cut_after(1200),
        Answer::hangup(),
        Answer::partial(&bytes, 1200).cut_after(1),
        Answer::partial(&bytes, 1201),
    ];
    let (registry, fetched) = fetch(0, &answers).await;
    assert_eq!(fetched.unwrap(), bytes);
    let ranges: Vec<Option<String>> = registry
        .requests()
        .iter()
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    let expected = [
        None,
        Some("bytes=1200-"),
        Some("bytes=1200-"),
        Some("bytes=1201-"),
    ];
    assert_eq!(ranges, expected.map(|range| range.map(str::to_owned)));
    assert_eq!(
        registry.requests()[0].header("accept-encoding"),
        Some("identity")
    );
}

#[tokio::test]
async fn a_body_that_stalls_is_resumed() {
    let bytes = content();
    let answers = [
        Answer::ok(bytes.clone()).stall_after(700),
        Answer::partial(&bytes, 700),
    ];
    let (_, fetched) = fetch(0, &answers).await;
    assert_eq!(fetched.unwrap(), bytes);
}

#[tokio::test]
async fn three_breaks_without_progress_end_a_fetch() {
    let bytes = content();
    let answers = [
        Answer::ok(bytes.clone()).cut_after(10),
        Answer::partial(&bytes, 10).cut_after(0),
    ];
    let (registry, fetched) = fetch(0, &answers).await;
    let error = fetched.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Interrupted {
                position: 10,
                size: 5000,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(registry.requests().len(), 4);
}

#[tokio::test]
async fn a_fetch_starts_anywhere() {
    let bytes = content();
    let (registry, fetched) = fetch(4000, &[Answer::partial(&bytes, 4000)]).await;
    assert_eq!(fetched.unwrap(), bytes[4000..]);
    assert_eq!(registry.requests()[0].header("range"), Some("bytes=4000-"));
    let (_, ignored) = fetch(4000, &[Answer::ok(bytes.clone()).chunked()]).await;
    assert_eq!(ignored.unwrap(), bytes[4000..], "the range is ignored");
    let (registry, end) = fetch(5000, &[Answer::status(500)]).await;
    assert!(end.unwrap().is_empty());
    assert!(registry.requests().is_empty());
    let (_, beyond) = fetch(5001, &[Answer::ok(bytes)]).await;
    assert!(matches!(beyond, Err(Error::Offset { .. })));
}

#[tokio::test]
async fn a_server_that_refuses_the_rest_is_asked_for_all() {
    let bytes = content();
    let answers = [Answer::status(416), Answer::ok(bytes.clone())];
    let (registry, fetched) = fetch(4000, &answers).await;
    assert_eq!(fetched.unwrap(), bytes[4000..]);
    let requests = registry.requests();
    assert_eq!(requests[0].header("range"), Some("bytes=4000-"));
    assert_eq!(requests[1].header("range"), None);
    let (registry, fetched) = fetch(4000, &[Answer::status(416)]).await;
    let is_refused = matches!(fetched, Err(Error::Status { status: 416, .. }));
    assert!(is_refused, "{fetched:?}");
    assert_eq!(registry.requests().len(), 2);
}

#[tokio::test]
async fn bodies_of_another_size_are_refused() {
    let bytes = content();
    let long = [bytes.clone(), vec![0; 7]].concat();
    let wrong_range = Answer::ok(&bytes[9..]).header("Content-Range", "bytes 9-4999/5000");
    let cases = [
        (
            "short by its length",
            0,
            Answer::ok(&bytes[..4999]),
            "has 4999 bytes instead of 5000",
        ),
        (
            "long by its length",
            0,
            Answer::ok(long.clone()),
            "has 5007 bytes instead of 5000",
        ),
        (
            "short",
            0,
            Answer::ok(&bytes[..4999]).chunked(),
            "has 4999 bytes instead of 5000",
        ),
        (
            "long",
            0,
            Answer::ok(long).chunked(),
            "bytes instead of 5000",
        ),
        (
            "range ignored, short",
            10,
            Answer::ok(&bytes[10..]),
            "has 4990 bytes instead of 5000",
        ),
        (
            "compressed",
            0,
            Answer::ok(bytes.clone()).header("Content-Encoding", "gzip"),
            "Content-Encoding",
        ),
        (
            "not the range",
            10,
            wrong_range.with_status(206),
            "Content-Range",
        ),
    ];
    for (why, offset, answer, expected) in cases {
        let (registry, fetched) = fetch(offset, &[answer]).await;
        let message = fetched.unwrap_err().to_string();
        assert!(message.contains(expected), "{why}: {message}");
        assert!(message.contains(&registry.host()), "{why}: {message}");
        assert_eq!(registry.requests().len(), 1, "{why}");
    }
}

#[tokio::test]
async fn wrong_and_huge_manifests_are_refused() {
    let get = Answer::ok("another").header("Content-Type", MediaType::OCI_MANIFEST);
    let lying = get
        .clone()
        .header("Docker-Content-Digest", Digest::sha256(b"x").to_string());
    let (_, resolved) = resolve(&[Answer::status(405)], &[lying]).await;
    assert!(
        matches!(resolved, Err(Error::WrongDigest { .. })),
        "{resolved:?}"
    );

    let registry = Registry::start();
    let wanted = Digest::sha256(b"wanted");
    registry.on(
        &format!("HEAD /v2/team/app/manifests/{wanted}"),
        [manifest_answer()],
    );
    let reference = format!("{}/team/app@{wanted}", registry.host())
        .parse()
        .unwrap();
    let resolved = Client::new(reference, &options()).unwrap().resolve().await;
    assert!(
        matches!(resolved, Err(Error::WrongDigest { .. })),
        "{resolved:?}"
    );

    let bad = get.header("Docker-Content-Digest", "sha256:../../etc");
    let (_, resolved) = resolve(&[bad], &[]).await;
    assert!(
        matches!(resolved, Err(Error::Header { .. })),
        "{resolved:?}"
    );

    let huge = manifest_answer().header("Content-Length", "4393217");
    let (_, resolved) = resolve(&[huge], &[]).await;
    assert!(
        matches!(resolved, Err(Error::TooLarge { .. })),
        "{resolved:?}"
    );
    let endless = Answer::ok(vec![b' '; 4_393_217])
        .header("Content-Type", MediaType::OCI_MANIFEST)
        .chunked();
    let (_, resolved) = resolve(&[Answer::status(405)], &[endless]).await;
    assert!(
        matches!(resolved, Err(Error::TooLarge { .. })),
        "{resolved:?}"
    );
}

#[tokio::test]
async fn manifests_are_fetched_as_such_and_else_as_blobs() {
    let descriptor = Descriptor::of(MediaType::OCI_MANIFEST, MANIFEST.as_bytes());
    let registry = Registry::start();
    registry.on(
        &format!("GET {}", blob_path(&descriptor)),
        [Answer::ok(MANIFEST)],
    );
    let fetched = client(&registry, &options())
        .fetch(&descriptor, 0)
        .await
        .unwrap();
    assert_eq!(read(fetched).await.unwrap(), MANIFEST.as_bytes());
    assert_eq!(
        registry.lines(),
        [
            format!("GET /v2/team/app/manifests/{}", descriptor.digest),
            format!("GET {}", blob_path(&descriptor))
        ]
    );
}
