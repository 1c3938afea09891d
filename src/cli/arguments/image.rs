//! The grammar of `mica images` and `mica image`.

use clap::{Args, Subcommand};

use super::{FilterArguments, UnpackArguments};

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
    /// Show an image's record, manifest and config
    Inspect {
        /// Name or digest prefix of the image
        image: String,
    },
    /// Unpack an image that was only fetched
    Unpack(UnpackArguments),
    /// Remove images, and what no other image needs
    Rm {
        /// Names or digest prefixes of the images
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Give an image a further name
    Tag {
        /// Name or digest prefix of the image
        image: String,
        /// The further name
        name: String,
    },
}
