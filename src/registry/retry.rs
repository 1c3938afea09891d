//! Which failed requests are worth another try, and after how long.

use std::time::{Duration, SystemTime};

/// When to try a request again.
///
/// Waiting times double from `first` and have no jitter, so that a run can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How often a request is sent at most when the server asks us to come back.
    pub attempts: u32,
    /// How often a request is sent at most when the connection fails.
    pub connection_attempts: u32,
    /// The waiting time before the second attempt.
    pub first: Duration,
    /// The longest waiting time; a server that asks for more is not asked again.
    pub longest: Duration,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was an answer, with this status and perhaps a time to wait.
    Status(u16, Option<Duration>),
    /// There was no connection, or it broke.
    Connection,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 5,
            connection_attempts: 3,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// Returns how long to wait before the next attempt, or nothing when there should be none.
    /// `made` is how many attempts were made, the failed one included.
    pub(super) fn wait(&self, made: u32, failure: Failure) -> Option<Duration> {
        let limit = match failure {
            Failure::Status(408 | 429 | 500 | 502 | 503 | 504, _) => self.attempts,
            Failure::Status(..) => return None,
            Failure::Connection => self.connection_attempts,
        };
        if made >= limit {
            return None;
        }
        if let Failure::Status(_, Some(asked)) = failure {
            return (asked <= self.longest).then_some(asked);
        }
        let factor = 1_u32
            .checked_shl(made.saturating_sub(1))
            .unwrap_or(u32::MAX);
        Some(self.first.saturating_mul(factor).min(self.longest))
    }
}

/// Reads a `Retry-After` header: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times() {
        let s = Duration::from_secs;
        let ms = Duration::from_millis;
        let broken = Failure::Connection;
        let cases = [
            ("first 503", 1, Failure::Status(503, None), Some(ms(250))),
            ("second 503", 2, Failure::Status(503, None), Some(ms(500))),
            ("fourth 500", 4, Failure::Status(500, None), Some(s(2))),
            ("fifth 500", 5, Failure::Status(500, None), None),
            (
                "429 with a time",
                1,
                Failure::Status(429, Some(s(7))),
                Some(s(7)),
            ),
            (
                "429 at once",
                1,
                Failure::Status(429, Some(s(0))),
                Some(s(0)),
            ),
            (
                "429 with the longest time",
                1,
                Failure::Status(429, Some(s(60))),
                Some(s(60)),
            ),
            (
                "429 with too long a time",
                1,
                Failure::Status(429, Some(s(61))),
                None,
            ),
            ("408", 1, Failure::Status(408, None), Some(ms(250))),
            ("404", 1, Failure::Status(404, Some(s(1))), None),
            ("501", 1, Failure::Status(501, None), None),
            ("broken", 1, broken, Some(ms(250))),
            ("broken again", 3, broken, None),
        ];
        for (why, made, failure, expected) in cases {
            assert_eq!(Policy::default().wait(made, failure), expected, "{why}");
        }
        let endless = Policy {
            attempts: u32::MAX,
            ..Policy::default()
        };
        assert_eq!(endless.wait(1000, Failure::Status(503, None)), Some(s(60)));
    }

    #[test]
    fn retry_after_headers() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some(20)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ];
        for (header, expected) in cases {
            assert_eq!(
                retry_after(header, now),
                expected.map(Duration::from_secs),
                "{header}"
            );
        }
    }
}
