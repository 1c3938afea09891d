//! Transfers from and to registries.

use std::path::PathBuf;
use std::sync::Arc;

use mica_proto::transfer_types::{ImageStore, OciRegistry};
use tonic::Status;

use super::super::call::blocking;
use super::super::status::status;
use super::images::platform;
use super::{Job, auth};
use crate::images::Platforms;
use crate::oci::Reference;
use crate::pull::pull;
use crate::push::{PushOptions, push};
use crate::registry::{self, Client};
use crate::source::Source;

impl Job {
    pub(super) async fn pull(&self, from: OciRegistry, to: ImageStore) -> Result<(), Status> {
        let (reference, registry) = self.registry(from).await?;
        let name = match to.name.as_str() {
            "" => reference.to_string(),
            name => name.to_owned(),
        };
        let options = self.pull_options(&to, name.clone())?;
        self.progress.say(format!("pulling from {reference}")).await;
        let client = Client::new(reference, &registry).map_err(|error| status(&error))?;
        let work = Box::pin(pull(
            Arc::clone(&self.call.store),
            Arc::new(Source::Registry(client)),
            &options,
            self.progress.of_pull(),
        ));
        let pulled = self.progress.during(work).await;
        let pulled = pulled.map_err(|error| status(&error))?;
        self.label(&name, &to).await?;
        self.progress.done("saved", &name, &pulled.target).await;
        Ok(())
    }

    pub(super) async fn push(&self, from: ImageStore, to: OciRegistry) -> Result<(), Status> {
        let images = self.images();
        let name = from.name.clone();
        let image = blocking(move || images.info(&name).map_err(|error| status(&error))).await?;
        let (reference, registry) = self.registry(to).await?;
        self.progress.say(format!("pushing to {reference}")).await;
        let options = PushOptions {
            platforms: match from.platforms.as_slice() {
                [only] => Platforms::One(platform(only)),
                _ => Platforms::Present,
            },
            chunk: None,
            registry: registry.clone(),
            namespace: self.call.namespace.clone(),
        };
        let registry = registry::Options {
            push: true,
            ..registry
        };
        let name = reference.to_string();
        let client = Client::new(reference, &registry).map_err(|error| status(&error))?;
        let work = push(
            Arc::clone(&self.call.store),
            &image,
            client,
            &options,
            self.progress.of_push(),
        );
        let pushed = self.progress.during(work).await;
        let pushed = pushed.map_err(|error| status(&error))?;
        self.progress.done("pushed", &name, &pushed).await;
        Ok(())
    }

    /// Returns what names the image, and how its registry is talked to.
    async fn registry(
        &self,
        message: OciRegistry,
    ) -> Result<(Reference, registry::Options), Status> {
        let reference: Reference = message.reference.parse().map_err(|error| status(&error))?;
        let resolver = message.resolver.unwrap_or_default();
        let credentials = match resolver.auth_stream.as_str() {
            "" => registry::Credentials::Anonymous,
            id => {
                let stream = self.streams.take(&self.call.namespace, id)?;
                auth::ask(stream, &reference).await?
            }
        };
        let hosts_dirs = match resolver.host_dir {
            directory if directory.is_empty() => registry::default_hosts_dirs(),
            directory => vec![PathBuf::from(directory)],
        };
        let options = registry::Options {
            plain_http: resolver.default_scheme == "http",
            hosts_dirs,
            credentials: Some(credentials),
            ..registry::Options::default()
        };
        Ok((reference, options))
    }
}
