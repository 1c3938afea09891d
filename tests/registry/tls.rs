//! Registries that speak TLS: whom the client trusts, and what it shows of itself.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mica::oci::{Digest, MediaType};
use mica::registry::{Client, Credentials, Error, Options, Policy};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::support::{Answer, Registry};

const MANIFEST: &str = r#"{"schemaVersion":2}"#;
const HEAD: &str = "HEAD /v2/team/app/manifests/v1";

/// A certificate authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What stands in the directory of a registry.
type Files<'a> = Vec<(&'a str, &'a str)>;

/// Whom a server lets in.
enum Clients<'a> {
    All,
    OnlyOf(&'a Authority),
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// The certificate that others trust.
    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this machine, and its key.
    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A registry that has the image and a certificate of this authority.
    fn registry(&self, clients: &Clients<'_>) -> Registry {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Clients::All => builder.with_no_client_auth(),
            Clients::OnlyOf(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let (certificate, key) = self.issue();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(chain, key).unwrap();
        let registry = Registry::with_tls(Some(Arc::new(config)));
        let answer = Answer::ok(MANIFEST)
            .header("Content-Type", MediaType::OCI_MANIFEST)
            .header(
                "Docker-Content-Digest",
                Digest::sha256(MANIFEST.as_bytes()).to_string(),
            );
        registry.on(HEAD, [answer]);
        registry
    }
}

/// A directory of hosts with one for a registry.
fn hosts(registry: &Registry, files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(registry.host());
    fs::create_dir(&dir).unwrap();
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
    root
}

async fn resolve(registry: &Registry, hosts: Option<&Path>) -> Result<(), Error> {
    let options = Options {
        hosts_dirs: hosts.into_iter().map(Path::to_owned).collect(),
        credentials: Some(Credentials::Anonymous),
        policy: Policy {
            attempts: 1,
            connection_attempts: 1,
            ..Policy::default()
        },
        ..Options::default()
    };
    let reference = format!("{}/team/app:v1", registry.host()).parse().unwrap();
    let client = Client::new(reference, &options)?;
    client.resolve().await.map(drop)
}

#[tokio::test]
async fn a_registry_on_this_machine_may_have_any_certificate() {
    let registry = Authority::new().registry(&Clients::All);
    resolve(&registry, None).await.unwrap();
    assert_eq!(registry.lines(), [HEAD]);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_once_and_explained() {
    let registry = Authority::new().registry(&Clients::All);
    let other = Authority::new();
    let server = format!("server = \"{}\"\nca = \"ca.pem\"\n", registry.url(""));
    let table: [(&str, &[(&str, &str)]); 2] = [
        (
            "in hosts.toml",
            &[("hosts.toml", &server), ("ca.pem", &other.pem())],
        ),
        ("beside nothing", &[("other.crt", &other.pem())]),
    ];
    for (why, files) in table {
        let before = registry.connections();
        let hosts = hosts(&registry, files);
        let error = resolve(&registry, Some(hosts.path())).await.unwrap_err();
        assert!(
            matches!(&error, Error::Certificate { host, .. } if *host == registry.host()),
            "{why}: {error:?}"
        );
        assert!(error.hint().unwrap().contains("hosts.toml"), "{why}");
        assert_eq!(registry.connections() - before, 1, "{why}");
    }
    assert!(registry.lines().is_empty());
}

#[tokio::test]
async fn an_authority_is_trusted_when_the_directory_names_it() {
    let authority = Authority::new();
    let registry = authority.registry(&Clients::All);
    let pem = authority.pem();
    let server = format!("server = \"{}\"\n", registry.url(""));
    let host = format!("[host.\"{}\"]\n", registry.url(""));
    let table: [(&str, &[(&str, &str)]); 4] = [
        (
            "of the server",
            &[
                ("hosts.toml", &format!("{server}ca = \"ca.pem\"")),
                ("ca.pem", &pem),
            ],
        ),
        (
            "of a host, in a list",
            &[
                ("hosts.toml", &format!("{host}ca = [\"ca.pem\"]")),
                ("ca.pem", &pem),
            ],
        ),
        ("without a file", &[("any.crt", &pem)]),
        (
            "not checked at all",
            &[("hosts.toml", &format!("{server}skip_verify = true"))],
        ),
    ];
    for (why, files) in table {
        let hosts = hosts(&registry, files);
        let resolved = resolve(&registry, Some(hosts.path())).await;
        assert!(resolved.is_ok(), "{why}: {resolved:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_own_host() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let registry = servers.registry(&Clients::OnlyOf(&clients));
    let (certificate, key) = clients.issue();
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let both = format!("{certificate}{key}");
    let ca = servers.pem();
    let toml = |client: &str| {
        let server = registry.url("");
        format!("server = \"{server}\"\nca = \"ca.crt\"\nclient = {client}\n")
    };
    let pairs = toml(r#"[["c.cert", "c.key"]]"#);
    let single = toml(r#""both.pem""#);
    let table: [(&str, Files<'_>, bool); 4] = [
        ("none", vec![("ca.crt", &ca)], false),
        (
            "beside nothing",
            vec![("ca.crt", &ca), ("c.cert", &certificate), ("c.key", &key)],
            true,
        ),
        (
            "a pair",
            vec![
                ("hosts.toml", &pairs),
                ("ca.crt", &ca),
                ("c.cert", &certificate),
                ("c.key", &key),
            ],
            true,
        ),
        (
            "in one file",
            vec![
                ("hosts.toml", &single),
                ("ca.crt", &ca),
                ("both.pem", &both),
            ],
            true,
        ),
    ];
    for (why, files, is_let_in) in table {
        let hosts = hosts(&registry, &files);
        let resolved = resolve(&registry, Some(hosts.path())).await;
        assert_eq!(resolved.is_ok(), is_let_in, "{why}: {resolved:?}");
    }
    // Another host that asks for it gets none, even if it is reached from the first.
    let far = servers.registry(&Clients::OnlyOf(&clients));
    registry.on(
        HEAD,
        [Answer::redirect(far.url("/v2/team/app/manifests/v1"))],
    );
    let files = [
        ("ca.crt", ca.as_str()),
        ("c.cert", &certificate),
        ("c.key", &key),
    ];
    let hosts = hosts(&registry, &files);
    let error = resolve(&registry, Some(hosts.path())).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { host, .. } if *host == far.host()),
        "{error:?}"
    );
    assert!(far.lines().is_empty());
}
