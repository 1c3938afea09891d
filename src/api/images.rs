//! Images.

use mica_proto::images::images_server::Images;
use mica_proto::images::{
    CreateImageRequest, CreateImageResponse, DeleteImageRequest, GetImageRequest, GetImageResponse,
    Image, ListImagesRequest, ListImagesResponse, UpdateImageRequest, UpdateImageResponse,
};
use tonic::{Request, Response, Status};

use super::call::{self, Call};
use super::convert::{self, required};
use super::status::status;
use crate::images;
use crate::leases::Resource;
use crate::meta::ImageRecord;

/// The images of a store.
#[derive(Debug)]
pub(crate) struct Service(pub(super) call::Service);

#[tonic::async_trait]
impl Images for Service {
    async fn get(
        &self,
        request: Request<GetImageRequest>,
    ) -> Result<Response<GetImageResponse>, Status> {
        let get = |call: Call, request: GetImageRequest| {
            let image = of(&call)
                .info(&request.name)
                .map_err(|error| status(&error))?;
            let image = Some(message(image));
            Ok(GetImageResponse { image })
        };
        self.0.answer(request, get).await
    }

    async fn list(
        &self,
        request: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        let list = |call: Call, request: ListImagesRequest| {
            let filter = convert::filter(&request.filters)?;
            let images = of(&call)
                .matching(&filter)
                .map_err(|error| status(&error))?;
            let images = images.into_iter().map(message).collect();
            Ok(ListImagesResponse { images })
        };
        self.0.answer(request, list).await
    }

    async fn create(
        &self,
        request: Request<CreateImageRequest>,
    ) -> Result<Response<CreateImageResponse>, Status> {
        let create = |call: Call, request: CreateImageRequest| {
            let image = required(request.image, "image")?;
            let target = convert::descriptor(required(image.target, "target")?)?;
            call.lease(|| Resource::image(&image.name))?;
            let image = of(&call)
                .create(&image.name, &target, image.labels)
                .map_err(|error| status(&error))?;
            let image = Some(message(image));
            Ok(CreateImageResponse { image })
        };
        self.0.answer(request, create).await
    }

    async fn update(
        &self,
        request: Request<UpdateImageRequest>,
    ) -> Result<Response<UpdateImageResponse>, Status> {
        let update = |call: Call, request| update(&call, request);
        self.0.answer(request, update).await
    }

    async fn delete(&self, request: Request<DeleteImageRequest>) -> Result<Response<()>, Status> {
        let delete = |call: Call, request: DeleteImageRequest| {
            let target = request.target;
            let target = target.map(|target| convert::digest(&target.digest));
            of(&call)
                .delete(&request.name, target.transpose()?.as_ref())
                .map_err(|error| status(&error))?;
            call.collected(request.sync)
        };
        self.0.answer(request, delete).await
    }
}

fn update(call: &Call, request: UpdateImageRequest) -> Result<UpdateImageResponse, Status> {
    let new = required(request.image, "image")?;
    let mask = convert::mask(request.update_mask);
    let old = of(call).info(&new.name).map_err(|error| status(&error))?;
    let image = ImageRecord {
        target: match new.target {
            Some(target) if changes_target(&mask) => convert::descriptor(target)?,
            _ => old.target.clone(),
        },
        labels: new.labels,
        ..old
    };
    let mask: Vec<&str> = mask.iter().map(String::as_str).collect();
    let image = of(call)
        .update(&image, &mask)
        .map_err(|error| status(&error))?;
    let image = Some(message(image));
    Ok(UpdateImageResponse { image })
}

/// Says whether an update under a mask looks at the target; clients leave it empty otherwise.
fn changes_target(mask: &[String]) -> bool {
    let is_of_target = |field: &String| {
        field == "target" || field == "annotations" || field.starts_with("annotations.")
    };
    mask.is_empty() || mask.iter().any(is_of_target)
}

pub(super) fn of(call: &Call) -> images::Images {
    images::Images::new(
        call.store.meta(),
        call.store.content(),
        call.namespace.clone(),
    )
}

pub(super) fn message(image: ImageRecord) -> Image {
    Image {
        name: image.name,
        labels: image.labels,
        target: Some(convert::descriptor_message(&image.target)),
        created_at: Some(convert::timestamp(image.created)),
        updated_at: Some(convert::timestamp(image.updated)),
    }
}
