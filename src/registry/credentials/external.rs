//! Credential helpers: `docker-credential-<suffix> get`, a server on standard input, JSON on
//! standard output (docker-credential-helpers' protocol).

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::{Credentials, CredentialsError, Secret};

/// How long a helper may take; it may have to ask its user.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;

/// The name under which a helper returns an identity token instead of a password.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for the credentials for a server.
pub(super) async fn run(suffix: &str, server: &str) -> Result<Credentials, CredentialsError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if suffix.is_empty() || !suffix.bytes().all(is_word) {
        return Err(CredentialsError::HelperName(suffix.to_owned()));
    }
    ask(format!("docker-credential-{suffix}"), server, PATIENCE).await
}

async fn ask(
    program: String,
    server: &str,
    patience: Duration,
) -> Result<Credentials, CredentialsError> {
    let failed = |source| CredentialsError::Helper {
        program: program.clone(),
        source,
    };
    let child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let child = match child {
        Ok(child) => child,
        // Configs name helpers that only another system has; public images need none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::warn!(program, "the credential helper is not installed");
            return Ok(Credentials::Anonymous);
        }
        Err(error) => return Err(failed(error)),
    };
    match tokio::time::timeout(patience, talk(child, server)).await {
        Ok(Ok((is_success, output))) => read_answer(program, is_success, &output),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(CredentialsError::HelperTimedOut {
            program,
            seconds: patience.as_secs(),
        }),
    }
}

async fn talk(mut child: Child, server: &str) -> io::Result<(bool, Vec<u8>)> {
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(server.as_bytes()).await {
            // A helper that does not want to know the server has gone already.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(LONGEST_ANSWER + 1)
            .read_to_end(&mut output)
            .await?;
    }
    Ok((child.wait().await?.success(), output))
}

fn read_answer(
    program: String,
    is_success: bool,
    output: &[u8],
) -> Result<Credentials, CredentialsError> {
    // A helper that still had more to say may have failed for that alone.
    if output.len() as u64 > LONGEST_ANSWER {
        return Err(CredentialsError::HelperAnswer { program });
    }
    if !is_success {
        let text = String::from_utf8_lossy(output);
        let line: String = text
            .trim()
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        if line.contains("credentials not found") {
            return Ok(Credentials::Anonymous);
        }
        return Err(CredentialsError::HelperFailed {
            program,
            message: line,
        });
    }
    // The reader's error is left out, for it may quote the secret.
    let Ok(Answer { username, secret }) = serde_json::from_slice(output) else {
        return Err(CredentialsError::HelperAnswer { program });
    };
    let secret = Secret::new(secret);
    Ok(match username.as_str() {
        TOKEN_USER => Credentials::IdentityToken(secret),
        _ => Credentials::Password {
            user: username,
            password: secret,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn ask_script(script: &str) -> Result<Credentials, CredentialsError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("helper");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        ask(
            path.to_str().unwrap().to_owned(),
            "h.io",
            Duration::from_secs(5),
        )
        .await
    }

    #[tokio::test]
    async fn answers() {
        let answer =
            ask_script(r#"read -r server; echo "{\"Username\":\"$1-$server\",\"Secret\":\"s\"}""#)
                .await
                .unwrap();
        let expected = Credentials::Password {
            user: "get-h.io".into(),
            password: Secret::new("s"),
        };
        assert_eq!(answer, expected);
        let token = ask_script(r#"echo '{"Username":"<token>","Secret":"t"}'"#)
            .await
            .unwrap();
        assert_eq!(token, Credentials::IdentityToken(Secret::new("t")));
        let none = ask_script("echo credentials not found in native keychain; exit 1").await;
        assert_eq!(none.unwrap(), Credentials::Anonymous);
        let missing = ask("docker-credential-that-is-missing".into(), "h", PATIENCE).await;
        assert_eq!(missing.unwrap(), Credentials::Anonymous);
    }

    #[tokio::test]
    async fn bad_answers() {
        use CredentialsError as E;
        let failed = ask_script("echo locked; exit 3").await;
        assert!(matches!(failed, Err(E::HelperFailed { message, .. }) if message == "locked"));
        for script in [
            "echo '{\"Secret\":\"s\"}'",
            "exit 0",
            "head -c 100000 /dev/zero",
        ] {
            let answer = ask_script(script).await;
            assert!(
                matches!(answer, Err(E::HelperAnswer { .. })),
                "{script}: {answer:?}"
            );
        }
        let name = run("../evil", "h.io").await;
        assert!(matches!(name, Err(E::HelperName(_))));
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_killed() {
        let never = ask("cat".into(), "h.io", Duration::from_millis(1)).await;
        assert!(never.is_err());
        let patience = Duration::from_millis(50);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("helper");
        std::fs::write(&path, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let hung = ask(path.to_str().unwrap().to_owned(), "h.io", patience).await;
        assert!(
            matches!(hung, Err(CredentialsError::HelperTimedOut { .. })),
            "{hung:?}"
        );
    }
}
