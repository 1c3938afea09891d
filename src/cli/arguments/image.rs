//! The grammar of `mica images` and `mica image`.

use clap::{Args, Subcommand};

use super::{FilterArguments, ImageCommitArguments, UnpackArguments};
use crate::oci::Digest;

#[derive(Debug, Args)]
pub(in crate::cli) struct ImagesArguments {
    /// Print names only
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
    #[command(flatten)]
    pub(in crate::cli) filter: FilterArguments,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ImageCommand {
    /// Draw what an image consists of; with --json, print its record, manifest and config
    Inspect {
        /// Name or digest prefix of the image
        image: String,
    },
    /// Unpack an image that was only fetched
    Unpack(UnpackArguments),
    /// Make an image of a snapshot
    ///
    /// What the snapshot has changed becomes a layer. The snapshot stays as it is; one that is
    /// mounted writable has to be unmounted first. The same snapshot makes the same image where
    /// `SOURCE_DATE_EPOCH` is set: no time in it is later than that.
    Commit(ImageCommitArguments),
    /// Remove images, and what no other image needs
    Rm {
        /// Names or digest prefixes of the images
        #[arg(required = true)]
        images: Vec<String>,
        /// Remove only what stands for this manifest or index
        #[arg(long, value_name = "DIGEST")]
        target: Option<Digest>,
    },
    /// Give an image a further name
    Tag {
        /// Name or digest prefix of the image
        image: String,
        /// The further name
        name: String,
        /// Take the name from the image that has it
        #[arg(long)]
        force: bool,
    },
    /// Set and remove labels of an image
    Label {
        /// Name or digest prefix of the image
        image: String,
        /// Labels; one without a value is removed
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = super::label)]
        labels: Vec<(String, String)>,
    },
    /// List which images are complete, and which are unpacked
    ///
    /// This looks at what there is and how large it is; digests are not computed.
    Check(FilterArguments),
}
