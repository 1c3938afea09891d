//! A body that is read to its end although connections break.

use std::time::Duration;

use bytes::Bytes;

use super::client::Client;
use super::error::Error;
use super::fetch::Opened;
use super::redirect::host_of;
use crate::oci::Descriptor;

/// How often in a row a body may break without a single new byte.
const MOST_BREAKS: u32 = 3;

/// How long to wait before a broken body is resumed.
const PAUSE: Duration = Duration::from_millis(50);

/// The bytes of a manifest or blob, from some offset to exactly the size of its descriptor.
///
/// A connection that breaks is replaced, and the bytes that have come already are not asked for
/// again. Where a server
/// has too little, or breaks too often, the next one that serves the registry goes on.
#[derive(Debug)]
pub struct Blob {
    client: Client,
    descriptor: Descriptor,
    opened: Option<Opened>,
    /// How many bytes of the whole blob have been handed out, or lie before the first offset.
    position: u64,
    breaks: u32,
    /// The number of the first place that is still asked.
    first: usize,
    /// Where the bytes came from last.
    host: String,
}

impl Blob {
    pub(super) fn new(client: Client, descriptor: Descriptor, offset: u64) -> Self {
        let host = client.host();
        Self {
            client,
            descriptor,
            opened: None,
            position: offset,
            breaks: 0,
            first: 0,
            host,
        }
    }

    pub(super) async fn open(&mut self) -> Result<(), Error> {
        let opened = self
            .client
            .open(&self.descriptor, self.position, self.first)
            .await?;
        self.host = host_of(opened.response.url());
        self.opened = Some(opened);
        Ok(())
    }

    /// Returns the next bytes, never an empty piece; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(opened) = &mut self.opened else {
                if self.position == self.descriptor.size {
                    return Ok(None);
                }
                self.open().await?;
                continue;
            };
            let stall = self.client.stall();
            let broken = match tokio::time::timeout(stall, opened.response.chunk()).await {
                Ok(Ok(Some(bytes))) => match self.advance(bytes)? {
                    Some(bytes) => return Ok(Some(bytes)),
                    None => continue,
                },
                Ok(Ok(None)) => {
                    let place = opened.number;
                    self.opened = None;
                    if self.position == self.descriptor.size {
                        return Ok(None);
                    }
                    if !self.turn_from(place) {
                        return Err(self.wrong_size(self.position));
                    }
                    continue;
                }
                Ok(Err(error)) => Some(error.without_url()),
                Err(_) => None,
            };
            let place = opened.number;
            self.opened = None;
            // All that matters has come, whatever became of the connection.
            if self.position < self.descriptor.size {
                self.pause(place, broken).await?;
            }
        }
    }

    /// Takes bytes as they come; returns those that are new.
    fn advance(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, Error> {
        if let Some(opened) = &mut self.opened {
            let known = usize::try_from(opened.skip)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            opened.skip -= known as u64;
            bytes = bytes.split_off(known);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let position = self.position.saturating_add(bytes.len() as u64);
        if position > self.descriptor.size {
            return Err(self.wrong_size(position));
        }
        self.position = position;
        self.breaks = 0;
        Ok(Some(bytes))
    }

    /// Leaves a place for the ones after it, if there are any.
    fn turn_from(&mut self, place: usize) -> bool {
        let is_other = self
            .client
            .places(&self.descriptor, place + 1)
            .is_ok_and(|rest| !rest.is_empty());
        if is_other {
            self.first = place + 1;
            self.breaks = 0;
        }
        is_other
    }

    async fn pause(&mut self, place: usize, source: Option<reqwest::Error>) -> Result<(), Error> {
        self.breaks += 1;
        if self.breaks > MOST_BREAKS && !self.turn_from(place) {
            return Err(Error::Interrupted {
                host: self.host.clone(),
                what: self.descriptor.digest.to_string(),
                position: self.position,
                size: self.descriptor.size,
                source,
            });
        }
        let Self {
            descriptor,
            position,
            ..
        } = self;
        tracing::debug!(digest = %descriptor.digest, position, "resuming a broken body");
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    fn wrong_size(&self, found: u64) -> Error {
        Error::WrongSize {
            host: self.host.clone(),
            what: self.descriptor.digest.to_string(),
            expected: self.descriptor.size,
            found,
        }
    }
}
