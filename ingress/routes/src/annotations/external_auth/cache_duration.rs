//! `auth-cache-duration`: how long responses of the authentication server are valid.

use crate::plan::subrequest_cache::Validity;
use crate::settings::parse_time;

/// ingress-nginx's default.
pub(super) const DEFAULT_DURATIONS: &str = "200 202 401 5m";
/// The statuses of a time without any, as in nginx's `proxy_cache_valid`.
const WITHOUT_STATUS: [u16; 3] = [200, 301, 302];

/// Statuses and a time, several between commas: `200 202 10m, any 1m`.
pub(super) fn parse_durations(text: &str) -> Option<Vec<Validity>> {
    text.split(',').map(validity).collect()
}

fn validity(text: &str) -> Option<Validity> {
    let text = text.trim();
    let (statuses, time) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
    let time = parse_time(time)?;
    if statuses.split_whitespace().any(|status| status == "any") {
        return Some(Validity { statuses: Vec::new(), time });
    }
    let status = |status: &str| status.parse().ok().filter(|status| (100..=599).contains(status));
    let statuses: Vec<u16> = statuses.split_whitespace().map(status).collect::<Option<_>>()?;
    Some(Validity { statuses: if statuses.is_empty() { WITHOUT_STATUS.into() } else { statuses }, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_by_nginx() {
        let read = |text: &str| {
            let list = parse_durations(text)?;
            Some(list.into_iter().map(|one| (one.statuses, one.time.as_secs())).collect::<Vec<_>>())
        };
        for (text, wanted) in [
            (DEFAULT_DURATIONS, Some(vec![(vec![200, 202, 401], 300)])),
            ("200 10m, 401 30s", Some(vec![(vec![200], 600), (vec![401], 30)])),
            ("30", Some(vec![(vec![200, 301, 302], 30)])),
            ("any 1h", Some(vec![(vec![], 3600)])),
            ("", None),
            ("200 401", Some(vec![(vec![200], 401)])),
            ("200 10m,", None),
            ("20 10m", None),
            ("ok 10m", None),
            ("200 long", None),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }
}
