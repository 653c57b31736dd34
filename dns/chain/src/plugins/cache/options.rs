//! The options of `cache`.

use std::time::Duration;

use config::{ConfigError, Directive, ServerBlock, Word};

use crate::names::Zones;
use crate::setup::{PluginOption, SetupErrors, each_line};

/// The options of a cache. Defaults are those of CoreDNS.
pub(super) struct CacheOptions {
    pub zones: Zones,
    /// The `zones` label.
    pub label: String,
    pub success: TableOptions,
    pub denial: TableOptions,
    /// `servfail`: how long failures are cached; zero for not at all.
    pub servfail: Duration,
    pub prefetch: Option<PrefetchOptions>,
    pub stale: Option<StaleOptions>,
    pub prefer_positive: bool,
    pub keep_ttl: bool,
}

/// `success` and `denial`: the options of one kind of answers.
pub(super) struct TableOptions {
    pub capacity: usize,
    pub longest: Duration,
    pub shortest: Duration,
    /// Zones that are not cached (`disable`).
    pub except: Zones,
}

/// `prefetch`: an entry with `amount` hits, none of them more than `gap` apart, is refreshed when `percent` of its lifetime
/// is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PrefetchOptions {
    pub amount: u32,
    pub gap: Duration,
    pub percent: u32,
}

/// `serve_stale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StaleOptions {
    /// How long an expired entry is served.
    pub up_to: Duration,
    pub mode: StaleMode,
    /// The TTL of an expired entry.
    pub ttl: u32,
    /// The pause after a refresh that failed.
    pub recheck: Duration,
}

impl StaleOptions {
    /// Whether only one query at a time refreshes an entry. With an unbounded `verify` each query does, as in CoreDNS.
    pub(super) fn one_at_a_time(&self) -> bool {
        self.mode != StaleMode::Verify(DEFAULT_VERIFY_TIMEOUT) || !self.recheck.is_zero()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaleMode {
    /// Serve the stale answer at once and refresh in the background.
    Immediate,
    /// Refresh first, and serve the stale answer if that fails or takes longer than this.
    Verify(Duration),
}

/// The options as the reference shows them.
pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption {
        syntax: "[TTL]",
        default: "3600, denial 1800",
        about: "The longest time in seconds that an answer is kept.",
    },
    PluginOption {
        syntax: "[ZONE…]",
        default: "the zones of the server block",
        about: "Zones that are cached.",
    },
    PluginOption {
        syntax: "success CAPACITY [TTL] [MINTTL]",
        default: "9984 3600 5",
        about: "Answers with records: their number, their longest and shortest time in seconds.",
    },
    PluginOption {
        syntax: "denial CAPACITY [TTL] [MINTTL]",
        default: "9984 1800 5",
        about: "The same for NXDOMAIN and NODATA.",
    },
    PluginOption {
        syntax: "prefetch AMOUNT [DURATION [PERCENTAGE%]]",
        default: "DURATION 1m, PERCENTAGE 10%",
        about: "An answer with AMOUNT hits, none of them more than DURATION apart, is fetched again when PERCENTAGE of its time is left.",
    },
    PluginOption {
        syntax: "serve_stale [DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]",
        default: "1h immediate",
        about: "Serves expired answers for DURATION, with TTL (0). `immediate` fetches in the background. `verify` asks first and serves the old answer if that fails or takes longer than TIMEOUT (5s). RECHECK is the pause after a failure.",
    },
    PluginOption {
        syntax: "serve_stale_policy prefer_positive",
        default: "",
        about: "A stale answer with records is not replaced by a denial or a failure.",
    },
    PluginOption {
        syntax: "servfail DURATION",
        default: "5s",
        about: "How long failures are kept: 0 to 5m.",
    },
    PluginOption {
        syntax: "disable success|denial [ZONE…]",
        default: "",
        about: "Does not cache these answers for these zones, or for all.",
    },
    PluginOption {
        syntax: "keepttl",
        default: "",
        about: "Replies keep the TTL that the upstream sent, instead of the time that is left.",
    },
];

const KNOWN: &[&str] =
    &["success", "denial", "prefetch", "serve_stale", "serve_stale_policy", "servfail", "disable", "keepttl"];

/// The default time limit of `verify`. `forward` gives up after the same time.
pub(super) const DEFAULT_VERIFY_TIMEOUT: Duration = Duration::from_secs(5);

impl CacheOptions {
    pub(super) fn read(directive: &Directive, block: &ServerBlock) -> Result<Self, SetupErrors> {
        let (ttl, zones) = arguments(directive);
        let ttl = ttl.map(seconds).transpose().map_err(|error| vec![error])?;
        let names = config::zones_or_keys(zones, block).map_err(|error| vec![error])?;
        let table = |longest| TableOptions {
            capacity: 9984,
            longest: ttl.unwrap_or(longest),
            shortest: Duration::from_secs(5),
            except: Zones::default(),
        };
        let mut options = Self {
            zones: Zones::new(names.iter().map(String::as_str)),
            label: names.join(","),
            success: table(Duration::from_secs(3600)),
            denial: table(Duration::from_secs(1800)),
            servfail: Duration::from_secs(5),
            prefetch: None,
            stale: None,
            prefer_positive: false,
            keep_ttl: false,
        };
        each_line(directive, |line| options.line(line, &names))?;
        options.prefer_positive &= options.stale.is_some();
        Ok(options)
    }

    fn line(&mut self, line: &Directive, names: &[String]) -> Result<(), ConfigError> {
        match line.name.text.as_str() {
            "success" => self.success.line(line)?,
            "denial" => self.denial.line(line)?,
            "prefetch" => self.prefetch = Some(prefetch(line)?),
            "serve_stale" => self.stale = stale(line)?,
            "serve_stale_policy" => {
                let word = line.arg("prefer_positive")?;
                self.prefer_positive = word.text.eq_ignore_ascii_case("prefer_positive")
                    || word.choice(&[("prefer_positive", true)])?;
            }
            "servfail" => {
                self.servfail =
                    line.arg("DURATION")?.duration_in(..=Duration::from_secs(300), "at most 5m")?;
            }
            "disable" => {
                let args = line.args_from(1, "success|denial [ZONES…]")?;
                let named = Zones::read(&args[1..])?;
                let all = Zones::new(names.iter().map(String::as_str));
                let except = if named.is_empty() { all } else { named };
                match args[0].choice(&[("success", true), ("denial", false)])? {
                    true => self.success.except = except,
                    false => self.denial.except = except,
                }
            }
            "keepttl" => {
                line.no_args()?;
                self.keep_ttl = true;
            }
            _ => return Err(line.unknown(KNOWN)),
        }
        Ok(())
    }
}

impl TableOptions {
    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        // CoreDNS ignores further words, and raises a capacity below the smallest possible one to it.
        let args = line.args_from(1, "CAPACITY [TTL] [MINTTL]")?;
        self.capacity = args[0].integer(..=i64::from(i32::MAX))?.try_into().unwrap_or(0);
        if let Some(ttl) = args.get(1) {
            self.longest = seconds(ttl)?;
        }
        if let Some(least) = args.get(2) {
            self.shortest = Duration::from_secs(least.integer(0..=i32::MAX as u64)?);
        }
        Ok(())
    }

    /// The lifetime of an answer with this shortest TTL. The upper bound wins: `cache 3` is below the default of the lower
    /// bound.
    pub(super) fn life(&self, shortest_ttl: Duration) -> Duration {
        shortest_ttl.max(self.shortest).min(self.longest)
    }
}

/// The TTL, if given, and the zones.
pub(super) fn arguments(directive: &Directive) -> (Option<&Word>, &[Word]) {
    match directive.args.split_first() {
        Some((word, rest)) if word.parse::<i64>("").is_ok() => (Some(word), rest),
        _ => (None, directive.args.as_slice()),
    }
}

/// A TTL of at least a second.
fn seconds(word: &Word) -> Result<Duration, ConfigError> {
    word.integer(1..=i32::MAX as u64).map(Duration::from_secs)
}

fn prefetch(line: &Directive) -> Result<PrefetchOptions, ConfigError> {
    let args = line.args_between(1, 3, "AMOUNT [DURATION [PERCENTAGE%]]")?;
    let gap = args.get(1).map_or(Ok(Duration::from_secs(60)), Word::duration_or_zero)?;
    let percent = match args.get(2) {
        None => 10,
        Some(word) => {
            let number = word.strip_suffix('%').and_then(|number| number.parse().ok());
            let number = number.filter(|number| (10..=90).contains(number));
            number.ok_or_else(|| word.error(format!("percentage {word}"), "from 10% to 90%"))?
        }
    };
    Ok(PrefetchOptions { amount: args[0].integer(0..=i32::MAX as u32)?, gap, percent })
}

/// `None` if `serve_stale 0` switches it off.
fn stale(line: &Directive) -> Result<Option<StaleOptions>, ConfigError> {
    let wanted = "[DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]";
    let mut args = line.args_between(0, 5, wanted)?.iter().peekable();
    let mut stale = StaleOptions {
        up_to: Duration::from_secs(3600),
        mode: StaleMode::Immediate,
        ttl: 0,
        recheck: Duration::ZERO,
    };
    // CoreDNS ignores the case of these two words.
    let modes = [("immediate", StaleMode::Immediate), ("verify", StaleMode::Verify(DEFAULT_VERIFY_TIMEOUT))];
    let mode = |word: &Word| modes.iter().find(|(name, _)| word.text.eq_ignore_ascii_case(name));
    if let Some(word) = args.next_if(|word| mode(word).is_none()) {
        stale.up_to = word.duration()?;
    }
    if let Some(word) = args.next() {
        stale.mode = mode(word).map_or_else(|| word.choice(&modes), |(_, mode)| Ok(*mode))?;
    }
    if matches!(stale.mode, StaleMode::Verify(_))
        && let Some(word) = args.next()
    {
        let limit = word.duration()?;
        // 0 means no time limit.
        stale.mode = StaleMode::Verify(if limit.is_zero() { DEFAULT_VERIFY_TIMEOUT } else { limit });
    }
    if let Some(word) = args.next() {
        stale.ttl = word.duration()?.as_secs().try_into().unwrap_or(u32::MAX);
    }
    if let Some(word) = args.next() {
        stale.recheck = word.duration()?;
    }
    match args.next() {
        Some(word) => Err(word.error(format!("unexpected '{word}' after serve_stale"), wanted)),
        None => Ok((!stale.up_to.is_zero()).then_some(stale)),
    }
}
