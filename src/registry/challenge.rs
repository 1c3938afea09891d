//! `WWW-Authenticate`: how a registry asks who we are (RFC 9110, section 11.6.1, and the
//! distribution project's token specification).

/// One way to authenticate that a server offers and mica knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from a token service.
    Bearer(Bearer),
    /// A name and a password, on each request.
    Basic,
}

/// Where to get a token, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    /// The URL of the token service.
    pub(super) realm: String,
    /// The name of the registry at the token service.
    pub(super) service: Option<String>,
    /// What the token must allow.
    pub(super) scope: Option<String>,
    /// Why the token that was sent did not do.
    pub(super) error: Option<String>,
}

/// Returns the best way to authenticate among the challenges in a response's headers.
pub(super) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let offers: Vec<Challenge> = headers.into_iter().flat_map(parse).collect();
    let is_bearer = |offer: &&Challenge| matches!(offer, Challenge::Bearer(_));
    offers.iter().find(is_bearer).or(offers.first()).cloned()
}

/// Returns the known challenges in one header, in their order.
fn parse(header: &str) -> Vec<Challenge> {
    let mut raw: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    let mut scanner = Scanner(header);
    while let Some(word) = scanner.word() {
        match (scanner.value(), raw.last_mut()) {
            (Some(value), Some((_, parameters))) => parameters.push((word, value)),
            (Some(_), None) => {}
            (None, _) => {
                scanner.skip_token68();
                raw.push((word, Vec::new()));
            }
        }
    }
    raw.into_iter()
        .filter_map(|(scheme, parameters)| known(scheme, &parameters))
        .collect()
}

fn known(scheme: &str, parameters: &[(&str, String)]) -> Option<Challenge> {
    let parameter = |name: &str| {
        let found = parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    };
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(Challenge::Bearer(Bearer {
        realm: parameter("realm")?,
        service: parameter("service"),
        scope: parameter("scope"),
        error: parameter("error"),
    }))
}

/// What is left of a header.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// Takes the next word; what can stand in none is passed over.
    fn word(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start_matches(|c| !is_token(c));
        let word = self.take_while(is_token);
        (!word.is_empty()).then_some(word)
    }

    /// Takes `= value`, if that is next.
    fn value(&mut self) -> Option<String> {
        let rest = self.0.trim_start_matches(is_blank).strip_prefix('=')?;
        let rest = rest.trim_start_matches(is_blank);
        if rest.is_empty() || rest.starts_with([',', '=']) {
            return None;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            self.0 = quoted;
            return Some(self.quoted());
        }
        self.0 = rest;
        Some(self.take_while(|c| c != ',' && !is_blank(c)).to_owned())
    }

    /// Takes the rest of a quoted string; one that does not end is taken whole.
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut rest = self.0.chars();
        while let Some(c) = rest.next() {
            match c {
                '"' => break,
                '\\' => value.extend(rest.next()),
                other => value.push(other),
            }
        }
        self.0 = rest.as_str();
        value
    }

    /// Passes over the base64-like text that may follow a scheme instead of parameters.
    fn skip_token68(&mut self) {
        let rest = self.0.trim_start_matches(is_blank);
        let end = rest.find(|c: char| !is_token68(c)).unwrap_or(rest.len());
        let after = rest
            .split_at(end)
            .1
            .trim_start_matches('=')
            .trim_start_matches(is_blank);
        if end > 0 && (after.is_empty() || after.starts_with(',')) {
            self.0 = after;
        }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn is_token68(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/".contains(c)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str, error: &str) -> Challenge {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: some(service),
            scope: some(scope),
            error: some(error),
        })
    }

    #[test]
    fn headers() {
        let cases = [
            (
                "as Docker writes it",
                r#"Bearer realm="https://a.io/token",service="r.io",scope="repository:a/b:pull""#,
                vec![bearer(
                    "https://a.io/token",
                    "r.io",
                    "repository:a/b:pull",
                    "",
                )],
            ),
            (
                "blanks, case, a comma within quotes, an error",
                r#"bearer  Realm = "https://a.io" , scope="repository:a:pull,push" , error=invalid_token"#,
                vec![bearer(
                    "https://a.io",
                    "",
                    "repository:a:pull,push",
                    "invalid_token",
                )],
            ),
            (
                "escapes",
                r#"Bearer realm="a\"b\\c""#,
                vec![bearer("a\"b\\c", "", "", "")],
            ),
            (
                "an open quote",
                r#"Bearer realm="abc"#,
                vec![bearer("abc", "", "", "")],
            ),
            (
                "basic",
                r#"Basic realm="x, Bearer realm=y""#,
                vec![Challenge::Basic],
            ),
            ("basic alone", "Basic", vec![Challenge::Basic]),
            (
                "several",
                r#"Negotiate dG9rZW4=, Basic realm="x", Bearer realm="y",service=z"#,
                vec![Challenge::Basic, bearer("y", "z", "", "")],
            ),
            ("no realm", r#"Bearer service="x""#, vec![]),
            ("empty realm", r#"Bearer realm="""#, vec![]),
            ("unknown", r#"Digest realm="x", nonce="y""#, vec![]),
            ("nothing", "", vec![]),
            ("nonsense", r#"=",",= ="#, vec![]),
        ];
        for (why, header, expected) in cases {
            assert_eq!(parse(header), expected, "{why}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let basic = r#"Basic realm="x""#;
        assert_eq!(
            choose([basic, r#"Bearer realm="y""#]),
            Some(bearer("y", "", "", ""))
        );
        assert_eq!(choose([basic]), Some(Challenge::Basic));
        assert_eq!(choose(["Digest realm=x"]), None);
    }

    proptest! {
        #[test]
        fn any_header_can_be_read(header in r#"([ -~]|[,="\\]|Bearer |realm=|é)*"#) {
            parse(&header);
        }

        #[test]
        fn a_quoted_realm_comes_back(realm in "[^\\x00-\\x1f]{1,40}") {
            let quoted = realm.replace('\\', r"\\").replace('"', "\\\"");
            let header = format!(r#"Bearer service="a", realm="{quoted}", scope="b""#);
            prop_assert_eq!(parse(&header), vec![bearer(&realm, "a", "b", "")]);
        }
    }
}
