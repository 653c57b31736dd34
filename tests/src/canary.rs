//! The share of requests that a canary gets, compared with its weight, and requests of which none may fail.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::http::Connection;
use crate::stage::SOON;
use crate::wait;

/// How many requests a share is measured by.
const REQUESTS: u32 = 3000;

/// The quantile of the χ² distribution with one degree of freedom that one measurement in 100,000 exceeds by chance.
const CHI_SQUARE: f64 = 19.5;

fn connect() -> Connection {
    Connection::plain(([127, 0, 0, 1], 80).into()).expect("the edge accepts connections")
}

/// How many of the requests to a host went to the new version.
pub fn canary_requests(host: &str, requests: u32) -> Result<u32, String> {
    let mut connection = connect();
    let mut canary = 0;
    for at in 0..requests {
        // The edge closes a connection after 1,000 requests (`keep-alive-requests`).
        if at % 500 == 499 {
            connection = connect();
        }
        let response = connection.send("GET", "/", &[("host", host)], b"");
        let response = response.map_err(|error| error.to_string())?;
        match (response.status, response.header("x-backend")) {
            (200, Some("new")) => canary += 1,
            (200, Some("old")) => {}
            _ => return Err(format!("{}: {}", response.status, response.text())),
        }
    }
    Ok(canary)
}

/// Compares a share with a weight in percent; the error is what was found.
pub fn compare(canary: u32, requests: u32, percent: u32) -> Result<f64, String> {
    let found = || format!("{canary} of {requests} requests instead of {percent} %");
    if percent == 0 || percent == 100 {
        return if canary * 100 == requests * percent { Ok(0.0) } else { Err(found()) };
    }
    let (total, share) = (f64::from(requests), f64::from(percent) / 100.0);
    let chi_square = (f64::from(canary) - total * share).powi(2) / (total * share * (1.0 - share));
    if chi_square < CHI_SQUARE {
        Ok(chi_square)
    } else {
        Err(format!("{}: χ² is {chi_square:.1}", found()))
    }
}

/// Waits until a weight is in effect, and measures it.
#[track_caller]
pub fn measure(host: &str, percent: u32) {
    wait::until(&format!("a weight of {percent}"), SOON, || {
        compare(canary_requests(host, 500)?, 500, percent)
    });
    let canary = canary_requests(host, REQUESTS).unwrap_or_else(|problem| panic!("{problem}"));
    let chi_square = compare(canary, REQUESTS, percent).unwrap_or_else(|problem| panic!("{problem}"));
    println!("    weight {percent}: {canary} of {REQUESTS} requests, χ² {chi_square:.2}");
}

/// Runs steps while another client sends requests to the host, of which none may fail.
pub fn under_load(host: &'static str, steps: impl FnOnce()) {
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Relaxed) {
                canary_requests(host, 20)?;
                sent.fetch_add(20, Relaxed);
            }
            Ok::<_, String>(())
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(steps));
        stop.store(true, Relaxed);
        let load = load.join().expect("the client does not panic");
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
        assert_eq!(load, Ok(()), "a request failed during the steps");
    });
    println!("    {} requests during the steps, none failed", sent.load(Relaxed));
}

/// Measures the share at a weight that a controller has set, if the weight is still `in_effect` afterwards; returns whether it was.
#[track_caller]
pub fn measure_if(host: &str, percent: u32, mut in_effect: impl FnMut() -> bool) -> bool {
    loop {
        let canary = canary_requests(host, 500).unwrap_or_else(|problem| panic!("{problem}"));
        if compare(canary, 500, percent).is_ok() {
            break;
        }
        if !in_effect() {
            return false;
        }
    }
    let canary = canary_requests(host, REQUESTS).unwrap_or_else(|problem| panic!("{problem}"));
    if !in_effect() {
        return false;
    }
    let chi_square = compare(canary, REQUESTS, percent).unwrap_or_else(|problem| panic!("{problem}"));
    println!("    weight {percent}: {canary} of {REQUESTS} requests, χ² {chi_square:.2}");
    true
}
