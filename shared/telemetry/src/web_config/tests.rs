//! The rate limit.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_bucket_gives_what_is_in_it_and_then_one_each_interval() {
    let bucket = |burst| TokenBucket::full(RateLimit { interval: Duration::from_secs(2), burst });
    let mut two = bucket(2).expect("a limit");
    let start = Instant::now();
    for (seconds, given) in [
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
        assert_eq!(two.take(start + Duration::from_secs(seconds)), given, "after {seconds} s");
    }
    assert!(!bucket(0).expect("a limit").take(start), "nothing in it, nothing out of it");
    assert!(TokenBucket::full(RateLimit::default()).is_none(), "no limit");
}
