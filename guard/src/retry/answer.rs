//! What an answer says about coming back.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// `UNAVAILABLE` of gRPC: the only status that says that the call may be repeated.
const GRPC_UNAVAILABLE: &[u8] = b"14";

/// What an answer says about coming back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// It is final.
    Final,
    /// Come back after this time, and not before.
    After(Duration),
    /// Come back, whenever.
    Again,
}

impl Advice {
    /// What an answer says; `now` is for the dates in it.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        if let Some(grpc_status) = headers.get("grpc-status") {
            return of_grpc(grpc_status.as_bytes(), headers);
        }
        let told = retry_after(headers, now);
        match (status.as_u16(), told) {
            // Locked (RFC 4918) may as well be somebody's lock, which ends when it ends.
            (408 | 423 | 425 | 429 | 500 | 502 | 503 | 504, Some(wait)) => Self::After(wait),
            (408 | 425 | 429 | 502 | 503 | 504, None) => Self::Again,
            _ => Self::Final,
        }
    }
}

/// gRFC A6: a pushback that is negative, or no number, forbids to come back.
fn of_grpc(status: &[u8], headers: &HeaderMap) -> Advice {
    if status != GRPC_UNAVAILABLE {
        return Advice::Final;
    }
    let Some(pushback) = headers.get("grpc-retry-pushback-ms") else { return Advice::Again };
    let pushback_ms = pushback.to_str().ok().and_then(|value| value.trim().parse::<u64>().ok());
    pushback_ms.map_or(Advice::Final, |pushback_ms| Advice::After(Duration::from_millis(pushback_ms)))
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let at = httpdate::parse_http_date(value).ok()?;
    // A date that has passed means now.
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z.
    const NOW_S: u64 = 784_111_777;

    fn advice(status: u16, headers: &[(&'static str, &'static str)]) -> Advice {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Advice::of(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S),
        )
    }

    fn after_s(seconds: u64) -> Advice {
        Advice::After(Duration::from_secs(seconds))
    }

    #[test]
    fn who_says_when_is_taken_at_the_word() {
        assert_eq!(advice(503, &[("retry-after", "120")]), after_s(120));
        assert_eq!(advice(423, &[("retry-after", "0")]), after_s(0));
        assert_eq!(advice(429, &[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]), after_s(60));
        assert_eq!(advice(503, &[("retry-after", "Sunday, 06-Nov-94 08:50:37 GMT")]), after_s(60), "RFC 850");
        assert_eq!(advice(503, &[("retry-after", "Sun Nov  6 08:50:37 1994")]), after_s(60), "asctime");
        assert_eq!(advice(503, &[("retry-after", "Sun, 06 Nov 1994 08:48:37 GMT")]), after_s(0), "passed");
    }

    #[test]
    fn who_does_not_say_when_is_asked_again_if_that_may_help() {
        assert_eq!(advice(503, &[]), Advice::Again);
        assert_eq!(advice(503, &[("retry-after", "soon")]), Advice::Again);
        for status in [200, 400, 409, 422, 423, 500, 501] {
            assert_eq!(advice(status, &[]), Advice::Final, "{status}");
        }
        assert_eq!(advice(404, &[("retry-after", "1")]), Advice::Final);
    }

    #[test]
    fn grpc_pushes_back() {
        let refused =
            |more: &[(&'static str, &'static str)]| advice(200, &[&[("grpc-status", "14")], more].concat());
        assert_eq!(
            refused(&[("grpc-retry-pushback-ms", "1500")]),
            Advice::After(Duration::from_millis(1500))
        );
        assert_eq!(refused(&[]), Advice::Again);
        assert_eq!(refused(&[("grpc-retry-pushback-ms", "-1")]), Advice::Final);
        assert_eq!(refused(&[("grpc-retry-pushback-ms", "x")]), Advice::Final);
        assert_eq!(advice(200, &[("grpc-status", "0")]), Advice::Final);
        let other = [("grpc-status", "9"), ("grpc-retry-pushback-ms", "10")];
        assert_eq!(
            advice(200, &other),
            Advice::Final,
            "pushback does not make a failure one that may be repeated"
        );
    }
}
