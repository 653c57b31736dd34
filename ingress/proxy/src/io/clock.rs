//! The time of a worker: one clock reading per tick for all timeouts, and the time texts of responses and the access log.
//!
//! One of tokio's timers for each request would be too expensive. Timeouts here are seconds, so a request sets its deadline
//! in a cell, and a tick checks those that may have passed ten times a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use crate::io::timer_wheel::{TICK, TimerWheel};
pub(crate) use crate::io::timer_wheel::{Timer, WaitingFor};

/// A worker's clock.
pub(crate) struct Clock {
    start: Instant,
    timers: TimerWheel,
    /// The time that was read since a task is polled, if one is being polled.
    instant: Cell<Reading>,
    /// The time of the last tick, and the same since the Unix epoch.
    wall: Cell<(Instant, Duration)>,
    texts: RefCell<TimeTexts>,
    zone: jiff::tz::TimeZone,
}

/// The reading of the clock that a task shares with all that it calls.
#[derive(Clone, Copy)]
enum Reading {
    /// No task is being polled: each call reads the clock.
    None,
    /// The clock is read by the next call.
    Due,
    At(Instant),
}

/// Ends the sharing of a clock reading when it is dropped.
pub(crate) struct PollScope<'a>(&'a Clock);

impl Drop for PollScope<'_> {
    fn drop(&mut self) {
        self.0.instant.set(Reading::None);
    }
}

/// The current second as text.
struct TimeTexts {
    second: u64,
    /// `21/Nov/2026:07:44:42 +0000`.
    local: String,
    /// `2026-11-21T07:44:42+00:00`.
    iso: String,
    /// `Date: Sat, 21 Nov 2026 07:44:42 GMT` (RFC 9110 §5.6.7) with its line end.
    date_line: String,
    /// The value of that line, once it was asked for.
    http_value: Option<HeaderValue>,
}

impl TimeTexts {
    fn of(time: SystemTime, zone: &jiff::tz::TimeZone) -> Self {
        let second = unix_second(time);
        let local = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
        let local = local.unwrap_or_default().to_zoned(zone.clone());
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        Self {
            second,
            http_value: None,
            local: local.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
            iso: local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            date_line: format!("Date: {date}\r\n"),
        }
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn unix_second(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

impl Clock {
    pub(crate) fn new(zone: jiff::tz::TimeZone) -> Self {
        Self {
            start: Instant::now(),
            timers: TimerWheel::new(1),
            instant: Cell::new(Reading::None),
            wall: Cell::new((Instant::now(), since_epoch(SystemTime::now()))),
            texts: RefCell::new(TimeTexts::of(SystemTime::now(), &zone)),
            zone,
        }
    }

    /// A new timer. The clock drops it some time after its last other owner has dropped it.
    pub(crate) fn timer(&self) -> Rc<Timer> {
        self.timers.timer()
    }

    /// The time of the last tick, in milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.timers.now()
    }

    /// Until the result is dropped, the clock is read once at most: all that happens while a task is polled happens at one time.
    pub(crate) fn poll_scope(&self) -> PollScope<'_> {
        self.instant.set(Reading::Due);
        PollScope(self)
    }

    /// The time. Hot: a cell, but for one call of each poll.
    pub(crate) fn instant(&self) -> Instant {
        match self.instant.get() {
            Reading::At(instant) => instant,
            Reading::None => Instant::now(),
            Reading::Due => {
                let now = Instant::now();
                self.instant.set(Reading::At(now));
                now
            }
        }
    }

    /// A time as the time since the Unix epoch. Hot: follows the last tick and reads no clock.
    pub(crate) fn unix_time(&self, instant: Instant) -> Duration {
        let (tick, since_epoch) = self.wall.get();
        match instant.checked_duration_since(tick) {
            Some(later) => since_epoch + later,
            None => since_epoch.saturating_sub(tick.saturating_duration_since(instant)),
        }
    }

    /// The time since the Unix epoch. Hot: as [`Self::instant`].
    pub(crate) fn unix_now(&self) -> Duration {
        self.unix_time(self.instant())
    }

    /// Sets a deadline from now; it expires up to two ticks late and never early. Hot: a few cells.
    pub(crate) fn arm(&self, timer: &Rc<Timer>, after: Duration) {
        self.timers.arm(timer, after);
    }

    /// Waits for the client to read the response, for `timeout` at most.
    pub(crate) fn wait_for_client(&self, timer: &Rc<Timer>, timeout: Duration) {
        timer.set_waiting_for(WaitingFor::Client);
        self.arm(timer, timeout);
    }

    /// Ticks until the future is dropped, and calls `each` after every tick.
    pub(crate) async fn run(&self, mut each: impl FnMut()) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.tick();
            each();
        }
    }

    /// Wakes every task that has a timer, so that it notices a stop of the proxy.
    pub(crate) fn wake_all(&self) {
        self.timers.wake_all();
    }

    fn tick(&self) {
        self.tick_at(self.start.elapsed().as_millis() as u64 + 1);
    }

    pub(crate) fn tick_at(&self, now: u64) {
        let time = SystemTime::now();
        self.wall.set((Instant::now(), since_epoch(time)));
        if unix_second(time) != self.texts.borrow().second {
            *self.texts.borrow_mut() = TimeTexts::of(time, &self.zone);
        }
        self.timers.tick(now);
    }

    /// Writes `$time_local`: `21/Nov/2026:07:44:42 +0000`. It is that of the last tick.
    pub(crate) fn write_local_time(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.texts.borrow().local.as_bytes());
    }

    /// Writes `$time_iso8601`: `2026-11-21T07:44:42+00:00`. It is that of the last tick.
    pub(crate) fn write_iso_time(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.texts.borrow().iso.as_bytes());
    }

    /// The value of `Date` for HTTP/2. Hot: allocates once a second.
    pub(crate) fn http_date(&self) -> HeaderValue {
        let TimeTexts { date_line, http_value, .. } = &mut *self.texts.borrow_mut();
        let of_text = || {
            let date = date_line.trim_start_matches("Date: ").trim_end();
            // A date has only visible ASCII characters.
            HeaderValue::from_str(date).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        http_value.get_or_insert_with(of_text).clone()
    }

    /// Passes on the line of `Date` for HTTP/1, which is that of the last tick.
    pub(crate) fn with_date_line<T>(&self, use_line: impl FnOnce(&str) -> T) -> T {
        use_line(&self.texts.borrow().date_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_written_as_nginx_writes_it() {
        let clock = Clock::new(jiff::tz::TimeZone::fixed(jiff::tz::offset(2)));
        let mut out = Vec::new();
        clock.write_local_time(&mut out);
        let text = String::from_utf8(out).unwrap();
        let parsed =
            jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", &text).unwrap().to_timestamp().unwrap();
        assert!(text.ends_with(" +0200"), "{text}");
        assert!((jiff::Timestamp::now().as_second() - parsed.as_second()).abs() <= 2, "{text}");
        let mut iso = Vec::new();
        clock.write_iso_time(&mut iso);
        let iso = String::from_utf8(iso).unwrap();
        assert!(iso.ends_with("+02:00") && iso.len() == 25, "{iso}");
        assert_eq!(iso.parse::<jiff::Timestamp>().unwrap(), parsed);
        let value = clock.http_date();
        clock.with_date_line(|line| assert_eq!(line, format!("Date: {}\r\n", value.to_str().unwrap())));
        let date = httpdate::parse_http_date(value.to_str().unwrap()).unwrap();
        assert_eq!(unix_second(date) as i64, parsed.as_second());
        let now = since_epoch(SystemTime::now());
        assert!(clock.unix_time(Instant::now()).abs_diff(now) < Duration::from_secs(1));
        let (tick, since_epoch) = clock.wall.get();
        assert_eq!(clock.unix_time(tick - Duration::from_millis(3)), since_epoch - Duration::from_millis(3));
    }

    #[test]
    fn the_clock_is_read_once_while_a_task_is_polled() {
        let clock = Clock::new(jiff::tz::TimeZone::UTC);
        let passes = || {
            let first = clock.instant();
            while first == Instant::now() {}
            clock.instant() > first
        };
        assert!(passes());
        {
            let _scope = clock.poll_scope();
            let unix_time = clock.unix_now();
            assert!(!passes());
            assert_eq!(clock.unix_now(), unix_time);
        }
        assert!(passes());
    }
}
