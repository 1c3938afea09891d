//! Images of the store as messages name them.

use mica_proto::transfer_types::ImageStore;
use mica_proto::types;
use tonic::Status;

use super::super::call::blocking;
use super::super::status::{refused, status};
use super::Job;
use crate::error_class::ErrorClass;
use crate::images::Images;
use crate::meta::{ImageRecord, Labels};
use crate::oci::{Platform, PlatformMatcher};
use crate::pull::{Platforms, PullOptions};
use crate::snapshots::SNAPSHOTTER;

impl Job {
    /// Gives an image another name; who had that loses it.
    pub(super) async fn tag(&self, from: ImageStore, to: ImageStore) -> Result<(), Status> {
        let images = self.images();
        let tagged = blocking(move || {
            let tagged = images.tag(&from.name, &to.name, true);
            let tagged = tagged.map_err(|error| status(&error))?;
            label(&images, &tagged.name, to.labels.into_iter().collect())?;
            Ok(tagged)
        });
        let tagged = tagged.await?;
        self.progress
            .done("saved", &tagged.name, &tagged.target)
            .await;
        Ok(())
    }

    pub(super) fn images(&self) -> Images {
        let store = &self.call.store;
        Images::new(store.meta(), store.content(), self.call.namespace.clone())
    }

    /// Returns the options of a pull whose image goes into the store.
    pub(super) fn pull_options(
        &self,
        to: &ImageStore,
        name: String,
    ) -> Result<PullOptions, Status> {
        let mut options = PullOptions::new(name, self.call.namespace.clone());
        let platforms: Vec<Platform> = to.platforms.iter().map(platform).collect();
        options.platforms = match platforms.as_slice() {
            [] => Platforms::All,
            some => Platforms::Each(some.iter().map(PlatformMatcher::new).collect()),
        };
        options.unpack = !to.unpacks.is_empty();
        let mut names = to.unpacks.iter().map(|unpack| &unpack.snapshotter);
        match names.find(|name| !matches!(name.as_str(), "" | SNAPSHOTTER)) {
            Some(name) => {
                let message = format!("snapshotter not loaded: {name}");
                Err(refused(ErrorClass::InvalidArgument, &message))
            }
            None => Ok(options),
        }
    }

    /// Labels an image as its client wants.
    pub(super) async fn label(&self, name: &str, to: &ImageStore) -> Result<(), Status> {
        let (images, name) = (self.images(), name.to_owned());
        let labels = to.labels.clone().into_iter().collect();
        blocking(move || label(&images, &name, labels)).await
    }
}

fn label(images: &Images, name: &str, labels: Labels) -> Result<(), Status> {
    if labels.is_empty() {
        return Ok(());
    }
    let record = images.info(name).map_err(|error| status(&error))?;
    let mask: Vec<String> = labels.keys().map(|key| format!("labels.{key}")).collect();
    let mask: Vec<&str> = mask.iter().map(String::as_str).collect();
    let updated = images.update(&ImageRecord { labels, ..record }, &mask);
    updated.map(drop).map_err(|error| status(&error))
}

pub(super) fn platform(message: &types::Platform) -> Platform {
    Platform::new(&message.os, &message.architecture, &message.variant)
}
