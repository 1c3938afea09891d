//! `mica completions` and `mica man`: what the grammar of the command line can be made into.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::CliError;
use super::arguments::Arguments;
use super::output::Output;

/// Prints the script that completes commands and options in a shell.
pub(super) fn print(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "mica", &mut script);
    Output::copy(&script[..])
}

/// Writes a page for each command into a directory.
pub(super) fn write_pages(directory: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::File {
        path: directory.to_owned(),
        source,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)
}
