//! Whether a registry answers.

use super::Finding;
use crate::causes::in_one_line;
use crate::oci::Reference;
use crate::registry::{self, Client, Error};

/// What is asked for; that there is none is an answer too.
const PROBE: &str = "mica-doctor/probe:latest";

/// Asks a registry for an image that it does not have.
pub async fn check_registry(host: &str) -> Finding {
    let subject = format!("registry {host}");
    let reference: Reference = match format!("{host}/{PROBE}").parse() {
        Ok(reference) => reference,
        Err(error) => {
            return Finding::bad(subject, in_one_line(&error), "name a host, as docker.io");
        }
    };
    let options = registry::Options {
        hosts_dirs: registry::default_hosts_dirs(),
        ..registry::Options::default()
    };
    let client = match Client::new(reference, &options) {
        Ok(client) => client,
        Err(error) => return Finding::bad(subject, in_one_line(&error), "see hosts.toml"),
    };
    match client.resolve().await {
        Ok(_) | Err(Error::NotFound(_) | Error::Forbidden(_)) => Finding::ok(subject, "answers"),
        Err(Error::Unauthorized(_)) => Finding::ok(subject, "answers, and asks who you are"),
        Err(error @ Error::TooManyRequests { .. }) => {
            Finding::note(subject, in_one_line(&error), "wait, or log in")
        }
        Err(error) => Finding::bad(
            subject,
            in_one_line(&error),
            "look at the network, proxies, mirrors in hosts.toml and certificates",
        ),
    }
}
