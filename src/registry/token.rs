//! Access tokens from a registry's token service (the distribution project's "Token
//! Authentication Specification" and its `OAuth2` form).

use std::time::{Duration, SystemTime};

use reqwest::{RequestBuilder, Response, Url, header};
use serde::Deserialize;
use thiserror::Error;

use super::challenge::Bearer;
use super::credentials::{Credentials, Secret};
use super::error::{Error, message_in};
use super::redirect::host_of;
use super::retry::{Failure, Policy, retry_after};
use super::transport::{Transport, Whose};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// How long a token lasts that does not say so; the specification's number.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

const WHAT: &str = "an access token";

/// Why a token service gave no token.
#[derive(Debug, Error)]
pub enum TokenFault {
    /// The registry names no proper token service.
    #[error("{0:?} is not the URL of a token service")]
    Realm(String),
    /// The registry is reached through TLS, but its token service is not.
    #[error("the token service would be asked without encryption")]
    Downgrade,
    /// The token service refused.
    #[error("status {status}{}", message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The message in the answer.
        message: Option<String>,
    },
    /// The answer holds no token.
    #[error("the answer has no token")]
    Answer,
}

/// A token, and how long it lasts from when it was asked for.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) life: Duration,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// A request for a token for a registry.
pub(super) struct Inquiry<'a> {
    pub(super) transport: &'a Transport,
    pub(super) policy: &'a Policy,
    /// The registry, for messages and for whether it is reached through TLS.
    pub(super) registry: &'a Url,
    pub(super) bearer: &'a Bearer,
    pub(super) scope: &'a str,
}

impl Inquiry<'_> {
    /// Gets a token: with a secret by POST, and where that is not known, or without a secret,
    /// by GET.
    pub(super) async fn token(&self, credentials: &Credentials) -> Result<Token, Error> {
        let realm = self
            .realm()
            .map_err(|fault| self.fault(&self.bearer.realm, fault))?;
        let host = host_of(&realm);
        let mut response = match self.form(credentials) {
            None => self.get(&realm, None).await?,
            Some(form) => {
                self.ask(&realm, |client| client.post(realm.clone()).form(&form))
                    .await?
            }
        };
        // Old token services only know GET, and say so in one of these ways.
        if let (400 | 401 | 404 | 405, Credentials::Password { user, password }) =
            (response.status().as_u16(), credentials)
        {
            response = self.get(&realm, Some((user, password))).await?;
        }
        let status = response.status();
        let body = self
            .transport
            .read(response, WHAT, LONGEST_ANSWER)
            .await?
            .unwrap_or_default();
        if !status.is_success() {
            let refused = TokenFault::Refused {
                status: status.as_u16(),
                message: message_in(&body),
            };
            return Err(self.fault(&host, refused));
        }
        read_answer(&body).ok_or_else(|| self.fault(&host, TokenFault::Answer))
    }

    fn realm(&self) -> Result<Url, TokenFault> {
        let bad = || TokenFault::Realm(self.bearer.realm.escape_default().to_string());
        let realm: Url = self.bearer.realm.parse().map_err(|_| bad())?;
        match (self.registry.scheme(), realm.scheme()) {
            ("https", "http") => Err(TokenFault::Downgrade),
            (_, "http" | "https") if realm.has_host() && realm.username().is_empty() => Ok(realm),
            _ => Err(bad()),
        }
    }

    fn form(&self, credentials: &Credentials) -> Option<Vec<(&'static str, String)>> {
        let secret = match credentials {
            Credentials::Anonymous | Credentials::AccessToken(_) => return None,
            Credentials::Password { user, password } => vec![
                ("grant_type", "password".to_owned()),
                ("username", user.clone()),
                ("password", password.reveal().to_owned()),
            ],
            Credentials::IdentityToken(token) => vec![
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", token.reveal().to_owned()),
            ],
        };
        let mut form = vec![
            ("client_id", "mica".to_owned()),
            ("scope", self.scope.to_owned()),
        ];
        form.extend(
            self.bearer
                .service
                .clone()
                .map(|service| ("service", service)),
        );
        form.extend(secret);
        Some(form)
    }

    async fn get(&self, realm: &Url, basic: Option<(&String, &Secret)>) -> Result<Response, Error> {
        let mut url = realm.clone();
        if let Some(service) = &self.bearer.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        for scope in self.scope.split_whitespace() {
            url.query_pairs_mut().append_pair("scope", scope);
        }
        self.ask(realm, |client| {
            let request = client.get(url.clone());
            match basic {
                Some((user, password)) => request.basic_auth(user, Some(password.reveal())),
                None => request,
            }
        })
        .await
    }

    async fn ask(
        &self,
        realm: &Url,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let whose = if realm.origin() == self.registry.origin() {
            Whose::Own
        } else {
            Whose::Other
        };
        let client = self.transport.client(realm, whose)?;
        for made in 1.. {
            let result = self.transport.send(request(client), realm, WHAT).await;
            let failure = match &result {
                Ok(response) => Failure::Status(response.status().as_u16(), waiting_time(response)),
                Err(Error::Unreachable { .. }) => Failure::Connection,
                Err(_) => return result,
            };
            match self.policy.wait(made, failure) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return result,
            }
        }
        unreachable!("the policy ends every request")
    }

    fn fault(&self, service: &str, fault: TokenFault) -> Error {
        let host = host_of(self.registry);
        Error::Token {
            host,
            service: service.escape_default().to_string(),
            fault,
        }
    }
}

/// Returns how long a response asks to be left alone.
pub(super) fn waiting_time(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    retry_after(value.to_str().ok()?, SystemTime::now())
}

fn read_answer(body: &[u8]) -> Option<Token> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let value = answer
        .token
        .or(answer.access_token)
        .filter(|token| !token.is_empty())?;
    let life = answer
        .expires_in
        .and_then(|life| Duration::try_from_secs_f64(life).ok());
    Some(Token {
        value: Secret::new(value),
        life: life.unwrap_or(DEFAULT_LIFE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let cases = [
            (r#"{"token":"a"}"#, Some(("a", 60))),
            (r#"{"access_token":"b","expires_in":300}"#, Some(("b", 300))),
            (
                r#"{"token":"a","access_token":"b","expires_in":0}"#,
                Some(("a", 0)),
            ),
            (r#"{"token":"a","expires_in":-5}"#, Some(("a", 60))),
            (r#"{"token":"a","expires_in":1e300}"#, Some(("a", 60))),
            (r#"{"token":null}"#, None),
            (r#"{"token":""}"#, None),
            ("<html>", None),
        ];
        for (body, expected) in cases {
            let token = read_answer(body.as_bytes());
            let found = token
                .as_ref()
                .map(|token| (token.value.reveal(), token.life.as_secs()));
            assert_eq!(found, expected, "{body}");
        }
    }
}
