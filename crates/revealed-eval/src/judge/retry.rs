//! Pauses before a request is retried.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No pause of ours is longer.
const LONGEST_BACKOFF: f64 = 60.0;
/// No pause that a server asks for is kept if it is longer.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The pause after failure number `attempt`, from 0: `first · 2^attempt`, a minute at most, of which the half that
/// `share` in [0, 1] picks is left out, so that requests which failed together do not come back together.
pub(super) fn backoff(first_s: f64, attempt: u32, share: f64) -> Duration {
    let full = (first_s * 2f64.powi(attempt.min(30) as i32)).min(LONGEST_BACKOFF);
    Duration::from_secs_f64(full * (1.0 - 0.5 * share))
}

/// A share in [0, 1) that differs between requests and between their tries.
pub(super) fn share(request: &str, attempt: u32) -> f64 {
    // FNV-1a, offset and prime of its 64-bit form.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = request.bytes().chain(attempt.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, mix);
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). Seconds below 0 and what is neither are `None`, as if the header
/// were not there; more seconds than a clock holds are as many as it holds.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return (seconds >= 0.0)
            .then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let until = UNIX_EPOCH + Duration::from_secs(date(header)?);
    Some(until.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let fields: Vec<&str> = text.split([' ', ',', ':']).filter(|field| !field.is_empty()).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = fields.as_slice() else {
        return None;
    };
    let number = |text: &str, max: i64| text.parse().ok().filter(|n| (0..=max).contains(n));
    let month = match MONTHS.find(month) {
        Some(at) if month.len() == 3 && at % 3 == 0 => at as i64 / 3 + 1,
        _ => return None,
    };
    let (day, year) = (number(day, 31)?, number(year, 9999)?);
    // Days of the Gregorian calendar, years beginning in March: the leap day is then the last of its year.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let clock = number(hour, 23)? * 3600 + number(minute, 59)? * 60 + number(second, 60)?;
    u64::try_from(days * 86_400 + clock).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_jitter_takes_half_at_most() {
        let seconds = |attempt, share| backoff(1.5, attempt, share).as_secs_f64();
        assert_eq!([0, 1, 2].map(|attempt| seconds(attempt, 0.0)), [1.5, 3.0, 6.0]);
        assert_eq!((seconds(20, 0.0), seconds(20, 1.0), seconds(0, 1.0)), (60.0, 30.0, 0.75));
    }

    #[test]
    fn shares_of_two_requests_and_of_two_tries_differ() {
        let all = [share("a", 0), share("a", 1), share("b", 0)];
        assert!(all.iter().all(|share| (0.0..1.0).contains(share)), "{all:?}");
        assert!(all[0] != all[1] && all[0] != all[2]);
    }

    #[test]
    fn a_server_may_say_seconds_or_a_date() {
        // The example of RFC 9110, 5.6.7, whose time is 784111777 s since 1970.
        let text = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(retry_after(text, at(784_111_770)), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(text, at(784_111_999)), Some(Duration::ZERO));
        assert_eq!(date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(retry_after(" 1.5", at(0)), Some(Duration::from_millis(1500)));
        for text in ["1e300", "inf", "99999999999999999999999"] {
            assert_eq!(retry_after(text, at(0)), Some(Duration::MAX), "{text}");
        }
        for text in ["", "soon", "-3", "-1e9", "NaN", "Sun, 06 Nox 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(text, at(0)), None, "{text}");
        }
    }
}
