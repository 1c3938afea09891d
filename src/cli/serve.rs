//! `mica serve`.

use super::arguments::ServeArguments;
use super::output::Output;
use super::{CliError, Session};
use crate::serve;

pub(super) fn run(session: &Session, arguments: &ServeArguments) -> Result<(), CliError> {
    let socket = match &arguments.socket {
        Some(socket) => socket.clone(),
        None => serve::default_socket(&session.store),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    // Whether anybody reads it does not matter to clients.
    let ready = || {
        drop(Output::line(format_args!(
            "listening on {}",
            socket.display()
        )));
    };
    Ok(runtime.block_on(serve::serve(
        &session.store,
        &socket,
        arguments.containerd.as_deref(),
        ready,
    ))?)
}
