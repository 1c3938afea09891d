//! The grammar of `mica overlay`, which leaves most of it to the module of that name.

use std::ffi::OsString;

use clap::Args;

use crate::overlay::Call;

#[derive(Debug, Args)]
pub(in crate::cli) struct OverlayArguments {
    /// -o lowerdir=A:B[,upperdir=U,workdir=W][,...] DIR; `-h` alone tells more
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    arguments: Vec<OsString>,
}

impl OverlayArguments {
    pub(in crate::cli) fn call(&self) -> Call {
        Call::of(OsString::from("mica"), self.arguments.clone())
    }
}
