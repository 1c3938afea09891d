//! Who the user is, as the client of a transfer says.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mica_proto::transfer_types::{AuthRequest, AuthResponse, AuthType};
use tokio::time::timeout;
use tonic::Status;

use super::super::any::{packed, unpacked};
use super::super::status::refused;
use super::super::streams::OpenStream;
use crate::error_class::ErrorClass;
use crate::oci::Reference;
use crate::registry::{Credentials, Secret};

/// How long a client may think.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the client who the user is for a registry.
pub(super) async fn ask(
    mut stream: OpenStream,
    reference: &Reference,
) -> Result<Credentials, Status> {
    let request = AuthRequest {
        host: reference.registry().to_owned(),
        reference: reference.to_string(),
        wwwauthenticate: Vec::new(),
    };
    let gone = || refused(ErrorClass::Unavailable, "the client does not say who it is");
    let asked = stream.outgoing.send(Ok(packed(&request))).await;
    asked.map_err(|_| gone())?;
    let answer = timeout(PATIENCE, stream.incoming.message()).await;
    let answer = answer.map_err(|_| gone())??.ok_or_else(gone)?;
    let answer: Option<AuthResponse> = unpacked(&answer)?;
    credentials(answer.ok_or_else(gone)?)
}

fn credentials(answer: AuthResponse) -> Result<Credentials, Status> {
    let unusable = || {
        let message = "credentials of a kind that is not known";
        refused(ErrorClass::InvalidArgument, message)
    };
    match answer.auth_type() {
        AuthType::None => Ok(Credentials::Anonymous),
        AuthType::Credentials => Ok(Credentials::Password {
            user: answer.username,
            password: Secret::new(answer.secret),
        }),
        AuthType::Refresh => Ok(Credentials::IdentityToken(Secret::new(answer.secret))),
        AuthType::Header => match answer.secret.split_once(' ') {
            Some(("Bearer", token)) => Ok(Credentials::AccessToken(Secret::new(token))),
            Some(("Basic", encoded)) => {
                let decoded = STANDARD.decode(encoded).ok();
                let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                text.and_then(|text| text.parse().ok()).ok_or_else(unusable)
            }
            _ => Err(unusable()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_kinds_are_understood() {
        let password = |user: &str, password: &str| Credentials::Password {
            user: user.to_owned(),
            password: Secret::new(password),
        };
        for (kind, user, secret, expected) in [
            (AuthType::None, "", "", Some(Credentials::Anonymous)),
            (
                AuthType::Credentials,
                "me",
                "pw",
                Some(password("me", "pw")),
            ),
            (
                AuthType::Refresh,
                "",
                "token",
                Some(Credentials::IdentityToken(Secret::new("token"))),
            ),
            (
                AuthType::Header,
                "",
                "Bearer token",
                Some(Credentials::AccessToken(Secret::new("token"))),
            ),
            (
                AuthType::Header,
                "",
                "Basic bWU6cHc=",
                Some(password("me", "pw")),
            ),
            (AuthType::Header, "", "Basic %", None),
            (AuthType::Header, "", "Digest x", None),
        ] {
            let answer = AuthResponse {
                auth_type: kind.into(),
                secret: secret.to_owned(),
                username: user.to_owned(),
                expire_at: None,
            };
            assert_eq!(credentials(answer).ok(), expected, "{kind:?} {secret}");
        }
    }
}
