//! Transfers from and to archives that clients stream.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use mica_proto::transfer_types::{ImageExportStream, ImageImportStream, ImageStore};
use rustix::pipe::{PipeFlags, pipe_with};
use tonic::Status;

use super::super::call::blocking;
use super::super::status::{refused, status};
use super::images::platform;
use super::{Job, bytes};
use crate::error_class::ErrorClass;
use crate::export::{Destination, ExportFormat, ExportOptions, export, missing};
use crate::images::{Images, Platforms};
use crate::meta::ImageRecord;
use crate::pull::{Observer, fetch_blobs, pull};
use crate::registry;
use crate::source::{Found, Source};

impl Job {
    pub(super) async fn import(
        &self,
        from: ImageImportStream,
        to: ImageStore,
    ) -> Result<(), Status> {
        let stream = self.streams.take(&self.call.namespace, &from.stream)?;
        self.progress.say("importing".to_owned()).await;
        let (read, write) = pipe()?;
        let tmp = self.call.store.tmp();
        let find = blocking(move || {
            // The name that an image gets that has none.
            let found = Source::all_of(Path::new("image"), read, &tmp);
            found.map_err(|error| status(&error))
        });
        let (received, found) = tokio::join!(bytes::receive(stream, write), find);
        received?;
        for Found { source, names } in found? {
            let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
            if !to.name.is_empty() {
                names.insert(0, to.name.clone());
            }
            self.import_one(source, &names, &to).await?;
        }
        Ok(())
    }

    async fn import_one(
        &self,
        source: Source,
        names: &[String],
        to: &ImageStore,
    ) -> Result<(), Status> {
        let Some((name, others)) = names.split_first() else {
            return Ok(());
        };
        let options = self.pull_options(to, name.clone())?;
        let work = Box::pin(pull(
            Arc::clone(&self.call.store),
            Arc::new(source),
            &options,
            self.progress.of_pull(),
        ));
        let pulled = self.progress.during(work).await;
        let pulled = pulled.map_err(|error| status(&error))?;
        let (images, first, more) = (self.images(), name.clone(), others.to_vec());
        let tag = move || {
            for other in more {
                let tagged = images.tag(&first, &other, true);
                tagged.map_err(|error| status(&error))?;
            }
            Ok(())
        };
        blocking(tag).await?;
        for name in names {
            self.label(name, to).await?;
            self.progress.done("saved", name, &pulled.target).await;
        }
        Ok(())
    }

    pub(super) async fn export(
        &self,
        from: ImageStore,
        to: ImageExportStream,
    ) -> Result<(), Status> {
        let stream = self.streams.take(&self.call.namespace, &to.stream)?;
        let options = ExportOptions {
            format: ExportFormat::OciArchive,
            platforms: match to.platforms.as_slice() {
                [only] => Platforms::One(platform(only)),
                _ if to.all_platforms => Platforms::All,
                _ => Platforms::Present,
            },
            namespace: self.call.namespace.clone(),
        };
        let images = self.images();
        let records = blocking(move || named(&images, &from)).await?;
        self.progress.say("exporting".to_owned()).await;
        for image in &records {
            self.fetch(image, &options).await?;
        }
        let (read, write) = pipe()?;
        let store = Arc::clone(&self.call.store);
        let write = blocking(move || {
            let destination = Destination::Open(Arc::new(write));
            let written = export(&store, &records, &destination, &options);
            written.map_err(|error| status(&error))
        });
        let (written, sent) = tokio::join!(write, bytes::send(stream, read));
        sent.and(written)
    }

    /// Fetches the blobs that the store has only as they were unpacked.
    async fn fetch(&self, image: &ImageRecord, options: &ExportOptions) -> Result<(), Status> {
        let lacking = {
            let (store, image) = (Arc::clone(&self.call.store), image.clone());
            let platforms = options.platforms.clone();
            blocking(move || {
                let lacking = missing(&store, &image, &platforms);
                lacking.map_err(|error| status(&error))
            })
        };
        let lacking = lacking.await?;
        if lacking.is_empty() {
            return Ok(());
        }
        let registry = registry::Options {
            hosts_dirs: registry::default_hosts_dirs(),
            ..registry::Options::default()
        };
        let (store, namespace) = (&self.call.store, &self.call.namespace);
        let observer = Observer::default();
        let fetched = fetch_blobs(store, namespace, image, &lacking, &registry, &observer);
        fetched.await.map_err(|error| status(&error))
    }
}

/// Returns the images that are to be exported, of which there is at least one.
fn named(images: &Images, from: &ImageStore) -> Result<Vec<ImageRecord>, Status> {
    let mut records = Vec::new();
    let more = from.extra_references.iter();
    let more = more.map(|reference| (reference.name.as_str(), reference.is_prefix));
    for (name, is_prefix) in [(from.name.as_str(), false)].into_iter().chain(more) {
        if name.is_empty() {
            continue;
        }
        if is_prefix {
            let all = images.list().map_err(|error| status(&error))?;
            records.extend(all.into_iter().filter(|image| image.name.starts_with(name)));
        } else {
            records.push(images.info(name).map_err(|error| status(&error))?);
        }
    }
    if records.is_empty() {
        return Err(refused(ErrorClass::InvalidArgument, "no image to export"));
    }
    Ok(records)
}

fn pipe() -> Result<(File, File), Status> {
    let pipe = pipe_with(PipeFlags::CLOEXEC);
    let (read, write) = pipe.map_err(|errno| Status::internal(format!("make a pipe: {errno}")))?;
    Ok((read.into(), write.into()))
}
