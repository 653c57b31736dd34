//! Tests of the rate limit.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_bucket_allows_its_burst_and_then_one_request_per_interval() {
    let bucket = |burst| TokenBucket::full(RateLimit { interval: Duration::from_secs(2), burst });
    let mut two = bucket(2).expect("a limit is set");
    let start = Instant::now();
    for (seconds, allowed) in [
        (0, true),
        (0, true),
        (0, false),
        (1, false),
        (2, true),
        (3, false),
        (60, true),
        (60, true),
        (60, false),
    ] {
        assert_eq!(two.take(start + Duration::from_secs(seconds)), allowed, "after {seconds} s");
    }
    assert!(!bucket(0).expect("a limit is set").take(start), "a burst of zero allows no request");
    assert!(TokenBucket::full(RateLimit::default()).is_none(), "no limit");
}
