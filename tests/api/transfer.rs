//! Images between registries, the store and archives that a client streams.

use std::collections::BTreeMap;
use std::fs;

use mica_proto::images::GetImageRequest;
use mica_proto::images::images_client::ImagesClient;
use mica_proto::prost::{Message, Name};
use mica_proto::prost_types::Any;
use mica_proto::streaming::StreamInit;
use mica_proto::streaming::streaming_client::StreamingClient;
use mica_proto::transfer::transfer_client::TransferClient;
use mica_proto::transfer::{TransferOptions, TransferRequest};
use mica_proto::transfer_types::{
    AuthRequest, AuthResponse, AuthType, Data, ImageExportStream, ImageImportStream,
    ImageReference, ImageStore, OciRegistry, Progress, RegistryResolver, UnpackConfiguration,
    WindowUpdate,
};
use mica_proto::types::Platform;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::client::request;
use crate::layout::{Layout, tar_of};
use crate::server::{Server, refused};
use crate::support::{Answer, Registry};

fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::full_name(),
        value: message.encode_to_vec(),
    }
}

fn unpacked<M: Message + Name + Default>(any: &Any) -> M {
    assert_eq!(any.type_url, M::full_name());
    M::decode(any.value.as_slice()).unwrap()
}

/// A stream that the server knows by its name.
struct Open {
    to: Sender<Any>,
    from: Streaming<Any>,
}

async fn open(server: &Server, id: &str) -> Result<Open, Status> {
    let mut streams = StreamingClient::new(server.channel().await);
    let (to, messages) = channel(4);
    let id = id.to_owned();
    to.send(any(&StreamInit { id })).await.unwrap();
    let answers = streams.stream(request(ReceiverStream::new(messages)));
    let mut from = answers.await?.into_inner();
    let first = from.message().await?.unwrap();
    assert_eq!(first.type_url, "google.protobuf.Empty");
    Ok(Open { to, from })
}

async fn transfer(
    server: &Server,
    source: Any,
    destination: Any,
    progress: &str,
) -> Result<(), Status> {
    let mut client = TransferClient::new(server.channel().await);
    let transfer = TransferRequest {
        source: Some(source),
        destination: Some(destination),
        options: Some(TransferOptions {
            progress_stream: progress.to_owned(),
        }),
    };
    client.transfer(request(transfer)).await.map(drop)
}

async fn target(server: &Server, name: &str) -> Result<String, Status> {
    let mut images = ImagesClient::new(server.channel().await);
    let name = name.to_owned();
    let image = images.get(request(GetImageRequest { name })).await?;
    Ok(image.into_inner().image.unwrap().target.unwrap().digest)
}

fn store(name: &str) -> ImageStore {
    ImageStore {
        name: name.to_owned(),
        platforms: vec![Platform {
            os: "linux".to_owned(),
            architecture: mica::oci::Platform::host().architecture,
            ..Platform::default()
        }],
        ..ImageStore::default()
    }
}

fn image() -> Layout {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("file", b"contents")]));
    layout.add_tar(&tar_of(&[("large", &vec![7; 300_000])]));
    layout.finish();
    layout
}

/// Returns a registry that has an image, and wants to know who asks for it.
fn registry(layout: &Layout) -> Registry {
    let registry = Registry::start();
    for (digest, bytes) in layout.blobs() {
        let answer = Answer::ok(bytes).header("Docker-Content-Digest", digest.to_string());
        for kind in ["blobs", "manifests"] {
            registry.on(&format!("GET /v2/app/{kind}/{digest}"), [answer.clone()]);
        }
    }
    let target = layout.target();
    let answer = Answer::ok(fs::read(layout.blob(&target.digest)).unwrap())
        .header("Content-Type", target.media_type.as_str())
        .header("Docker-Content-Digest", target.digest.to_string());
    let who = Answer::refusal(401, "who").header("WWW-Authenticate", "Basic realm=\"r\"");
    registry.on("HEAD /v2/app/manifests/1", [who, answer]);
    registry
}

#[tokio::test]
async fn an_image_is_pulled_with_what_the_client_says_and_it_is_told_how_far_it_is() {
    let server = Server::start();
    let layout = image();
    let registry = registry(&layout);
    let name = format!("{}/app:1", registry.host());
    let mut progress = open(&server, "progress").await.unwrap();
    let mut auth = open(&server, "auth").await.unwrap();
    let answering = tokio::spawn(async move {
        let asked: AuthRequest = unpacked(&auth.from.message().await.unwrap().unwrap());
        let answer = AuthResponse {
            auth_type: AuthType::Credentials.into(),
            username: "me".to_owned(),
            secret: "pw".to_owned(),
            expire_at: None,
        };
        auth.to.send(any(&answer)).await.unwrap();
        // Dropped, it would take back what is not sent yet.
        (asked.reference, auth)
    });
    let from = OciRegistry {
        reference: name.clone(),
        resolver: Some(RegistryResolver {
            auth_stream: "auth".to_owned(),
            default_scheme: "http".to_owned(),
            ..RegistryResolver::default()
        }),
    };
    let to = ImageStore {
        labels: BTreeMap::from([("key".to_owned(), "value".to_owned())]),
        unpacks: vec![UnpackConfiguration::default()],
        ..store(&name)
    };
    transfer(&server, any(&from), any(&to), "progress")
        .await
        .unwrap();
    let (asked, _auth) = answering.await.unwrap();
    assert_eq!(asked, name);
    let mut told = Vec::new();
    while let Some(message) = progress.from.message().await.unwrap() {
        let Progress { event, name, .. } = unpacked(&message);
        told.push((event, name));
    }
    assert_eq!(told.last().unwrap(), &("saved".to_owned(), name.clone()));
    let complete = told.iter().filter(|(event, _)| event == "complete");
    assert_eq!(complete.count(), 2, "{told:?}");
    let digest = layout.target().digest.to_string();
    assert_eq!(target(&server, &name).await.unwrap(), digest);
    let requests = registry.requests();
    let shown = requests.iter().find_map(|r| r.header("authorization"));
    assert_eq!(shown, Some("Basic bWU6cHc="));
    let mut snapshots = crate::client::Snapshots::on(server.way().await);
    assert_eq!(
        snapshots.names(&["kind==committed"]).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn an_image_goes_through_a_stream_from_one_server_to_another() {
    let (one, other) = (Server::start(), Server::start());
    let layout = image();
    let registry = registry(&layout);
    let name = format!("{}/app:1", registry.host());
    let open_registry = Answer::ok(fs::read(layout.blob(&layout.target().digest)).unwrap())
        .header("Content-Type", layout.target().media_type.as_str())
        .header("Docker-Content-Digest", layout.target().digest.to_string());
    registry.on("HEAD /v2/app/manifests/1", [open_registry]);
    let from = OciRegistry {
        reference: name.clone(),
        resolver: None,
    };
    transfer(&one, any(&from), any(&store(&name)), "")
        .await
        .unwrap();
    transfer(
        &one,
        any(&store(&name)),
        any(&store("example.org/copy:1")),
        "",
    )
    .await
    .unwrap();
    let mut export = open(&one, "export").await.unwrap();
    let mut import = open(&other, "import").await.unwrap();
    let passing = tokio::spawn(async move {
        // Small and odd windows, so that pieces are cut.
        let update = any(&WindowUpdate { update: 1001 });
        export.to.send(update.clone()).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(message) = export.from.message().await.unwrap() {
            let Data { data } = unpacked(&message);
            assert!(data.len() <= 1001);
            bytes.extend(data);
            export.to.send(update.clone()).await.ok();
        }
        let mut allowed = 0;
        for piece in bytes.chunks(32 << 10) {
            while allowed < piece.len() {
                let message = import.from.message().await.unwrap().unwrap();
                let WindowUpdate { update } = unpacked(&message);
                allowed += usize::try_from(update).unwrap();
            }
            allowed -= piece.len();
            let data = piece.to_vec();
            import.to.send(any(&Data { data })).await.unwrap();
        }
        import.from
    });
    let to = ImageExportStream {
        stream: "export".to_owned(),
        ..ImageExportStream::default()
    };
    let images = ImageStore {
        extra_references: vec![ImageReference {
            name: "example.org/copy:1".to_owned(),
            ..ImageReference::default()
        }],
        ..ImageStore::default()
    };
    transfer(&one, any(&images), any(&to), "").await.unwrap();
    let from = ImageImportStream {
        stream: "import".to_owned(),
        ..ImageImportStream::default()
    };
    let to = any(&store(""));
    let importing = transfer(&other, any(&from), to, "");
    let (passed, imported) = tokio::join!(passing, importing);
    passed.unwrap();
    imported.unwrap();
    assert_eq!(
        target(&other, "example.org/copy:1").await.unwrap(),
        layout.target().digest.to_string()
    );
}

#[tokio::test]
async fn transfers_and_streams_that_cannot_be_are_refused() {
    let server = Server::start();
    let registry = |stream: &str| OciRegistry {
        reference: "127.0.0.1:1/app:1".to_owned(),
        resolver: Some(RegistryResolver {
            auth_stream: stream.to_owned(),
            ..RegistryResolver::default()
        }),
    };
    let elsewhere = ImageStore {
        unpacks: vec![UnpackConfiguration {
            snapshotter: "overlayfs".to_owned(),
            ..UnpackConfiguration::default()
        }],
        ..store("127.0.0.1:1/app:1")
    };
    let named = any(&store("127.0.0.1:1/app:1"));
    let table = [
        (
            "no stream",
            any(&registry("none")),
            named.clone(),
            Code::NotFound,
        ),
        ("no image", named.clone(), named.clone(), Code::NotFound),
        (
            "no registry",
            any(&registry("")),
            named.clone(),
            Code::Unavailable,
        ),
        (
            "another snapshotter",
            any(&registry("")),
            any(&elsewhere),
            Code::InvalidArgument,
        ),
        (
            "of nothing known",
            any(&Data::default()),
            named.clone(),
            Code::Unimplemented,
        ),
        (
            "between registries",
            any(&registry("")),
            any(&registry("")),
            Code::Unimplemented,
        ),
    ];
    for (why, from, to, code) in table {
        let status = transfer(&server, from, to, "").await.expect_err(why);
        assert_eq!(status.code(), code, "{why}: {status}");
    }
    let first = open(&server, "name").await.unwrap();
    let again = open(&server, "name").await.map(drop);
    refused(again, Code::AlreadyExists, "already exists");
    drop(first);
    let mut streams = StreamingClient::new(server.channel().await);
    let nameless = tokio_stream::iter([any(&Data::default())]);
    let nameless = streams.stream(request(nameless)).await;
    refused(nameless, Code::InvalidArgument, "invalid argument");
}
