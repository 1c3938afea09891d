//! Which `Authorization` the requests to one repository carry.
//!
//! Nothing is sent, and no credentials are looked up, before the registry asks. What it accepts
//! then serves all requests to the repository until it expires; requests that are refused at the
//! same time get one new token together.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use tokio::sync::Mutex;

use super::challenge::{Bearer, Challenge, choose};
use super::credentials::{Credentials, look_up};
use super::error::Error;
use super::redirect::host_of;
use super::retry::Policy;
use super::token::{Inquiry, Token, TokenFault};
use super::transport::Transport;

/// How long before its end a token is given up, so that it does not expire on its way.
const MARGIN: Duration = Duration::from_secs(5);

/// The authorization for one repository.
#[derive(Debug)]
pub(super) struct Authorizer {
    /// `host/path`, by which credentials are looked up.
    repository: String,
    /// The least that a token must allow.
    scope: String,
    /// Whether a token is asked for that allows more than the request at hand needs.
    is_wide: bool,
    /// What the user gave, which goes before all files.
    given: Option<Credentials>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    credentials: Option<Credentials>,
    grant: Option<Grant>,
    made: u64,
}

/// A header that the registry accepted, or that it has not seen yet.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    number: u64,
    expires: Option<Instant>,
}

impl Authorizer {
    /// Returns the authorization for `path` at a host, for pulling, and for pushing where
    /// `push` says so.
    pub(super) fn new(host: &str, path: &str, given: Option<Credentials>, push: bool) -> Self {
        let actions = if push { "pull,push" } else { "pull" };
        Self {
            repository: format!("{host}/{path}"),
            scope: format!("repository:{path}:{actions}"),
            is_wide: push,
            given,
            state: Mutex::default(),
        }
    }

    /// Returns the authorization that there is.
    pub(super) async fn current(&self) -> Option<Grant> {
        let state = self.state.lock().await;
        state.grant.clone().filter(Grant::is_fresh)
    }

    /// Returns a new authorization after the `round`th refusal of one request. A second one only
    /// comes when the registry says that the token is at fault, not the user.
    pub(super) async fn answer(
        &self,
        connection: &Connection<'_>,
        response: &Response,
        refused: Option<&Grant>,
        round: u32,
    ) -> Result<Option<Grant>, Error> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let Some(challenge) = choose(headers.iter().filter_map(|value| value.to_str().ok())) else {
            return Ok(None);
        };
        let is_token_bad = matches!(
            &challenge,
            Challenge::Bearer(bearer) if bearer.error.as_deref() == Some("invalid_token")
        );
        match round {
            1 => {}
            2 if is_token_bad => {}
            _ => return Ok(None),
        }
        self.renew(connection, &challenge, refused).await
    }

    /// Returns a new authorization after a challenge to a request that carried `refused`, or
    /// nothing when there is nothing more to show.
    async fn renew(
        &self,
        connection: &Connection<'_>,
        challenge: &Challenge,
        refused: Option<&Grant>,
    ) -> Result<Option<Grant>, Error> {
        let mut state = self.state.lock().await;
        let newest = state.grant.as_ref().filter(|grant| grant.is_fresh());
        if let Some(grant) = newest
            && refused.is_none_or(|refused| refused.number < grant.number)
        {
            return Ok(Some(grant.clone()));
        }
        let credentials = self.credentials(&mut state, connection.registry).await?;
        let (header, life) = match (challenge, &credentials) {
            (Challenge::Basic, Credentials::Password { user, password }) => {
                let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
                (header(connection, &format!("Basic {pair}"))?, None)
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer(_), Credentials::AccessToken(token)) => (
                header(connection, &format!("Bearer {}", token.reveal()))?,
                None,
            ),
            (Challenge::Bearer(bearer), credentials) => {
                let token = self.token(connection, bearer, credentials).await?;
                let life = token.life.saturating_sub(MARGIN);
                (
                    header(connection, &format!("Bearer {}", token.value.reveal()))?,
                    Some(life),
                )
            }
        };
        state.made += 1;
        let expires = life.and_then(|life| Instant::now().checked_add(life));
        let grant = Grant {
            header,
            number: state.made,
            expires,
        };
        state.grant = Some(grant.clone());
        Ok(Some(grant))
    }

    async fn credentials(&self, state: &mut State, registry: &Url) -> Result<Credentials, Error> {
        if let Some(credentials) = self.given.as_ref().or(state.credentials.as_ref()) {
            return Ok(credentials.clone());
        }
        let found = look_up(&self.repository)
            .await
            .map_err(|fault| Error::Credentials {
                host: host_of(registry),
                fault,
            })?;
        state.credentials = Some(found.clone());
        Ok(found)
    }

    async fn token(
        &self,
        connection: &Connection<'_>,
        bearer: &Bearer,
        credentials: &Credentials,
    ) -> Result<Token, Error> {
        let scope = match &bearer.scope {
            None => self.scope.clone(),
            // One token for reading and writing, rather than one for each.
            Some(scope) if self.is_wide && !scope.split_whitespace().any(|s| s == self.scope) => {
                format!("{} {scope}", self.scope)
            }
            Some(scope) => scope.clone(),
        };
        let inquiry = Inquiry {
            transport: connection.transport,
            policy: connection.policy,
            registry: connection.registry,
            bearer,
            scope: &scope,
        };
        inquiry.token(credentials).await
    }
}

/// What a token service is reached through.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    pub(super) transport: &'a Transport,
    pub(super) policy: &'a Policy,
    pub(super) registry: &'a Url,
}

impl Grant {
    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

fn header(connection: &Connection<'_>, text: &str) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::from_str(text).map_err(|_| {
        let host = host_of(connection.registry);
        Error::Token {
            service: host.clone(),
            host,
            fault: TokenFault::Answer,
        }
    })?;
    header.set_sensitive(true);
    Ok(header)
}
