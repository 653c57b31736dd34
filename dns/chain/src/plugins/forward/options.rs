//! The options of `forward`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::value::shown;
use config::{ConfigError, Directive, Word};
use dns_wire::Name;

use super::https::DohMethod;
use super::option_list::{KNOWN, ONE_WORD_PROPERTIES};
use super::policy::PolicyKind;
use super::pool::PoolLimits;
use crate::codes::Rcode;
use crate::limits::ChainLimits;
use crate::names::Zones;
use crate::setup::{PluginContext, SetupErrors, each_line};

/// The options of a `forward`. Defaults are those of CoreDNS.
#[derive(Clone)]
pub(super) struct ForwardOptions {
    pub except: Zones,
    pub policy: PolicyKind,
    pub health: HealthCheck,
    pub max_fails: u32,
    pub limits: PoolLimits,
    pub read_timeout: Duration,
    /// `None` for no limit. The default depends on the number of upstreams.
    pub max_connect_attempts: Option<usize>,
    pub attempts_set: bool,
    pub force_tcp: bool,
    pub prefer_udp: bool,
    pub randomize_case: bool,
    pub max_concurrent: Option<usize>,
    pub next: Vec<u16>,
    pub next_on_nodata: bool,
    pub failover: Vec<u16>,
    pub failfast: bool,
    pub tls: ForwardTls,
    pub doh_method: DohMethod,
    pub source: Option<IpAddr>,
    pub resolver: Vec<SocketAddr>,
    pub runtime: tokio::runtime::Handle,
    pub chain_limits: ChainLimits,
}

/// `health_check`: how an upstream that failed is checked.
#[derive(Clone, Debug)]
pub(super) struct HealthCheck {
    pub interval: Duration,
    pub recursion: bool,
    pub domain: Name,
}

/// `tls` and `tls_servername`: file names.
#[derive(Clone, Debug, Default)]
pub(super) struct ForwardTls {
    pub identity: Option<(String, String)>,
    pub authority: Option<String>,
    pub server_name: Option<String>,
}

impl ForwardOptions {
    pub(super) fn read(directive: &Directive, context: &PluginContext) -> Result<Self, SetupErrors> {
        let mut options = Self {
            except: Zones::default(),
            policy: PolicyKind::Random,
            health: HealthCheck { interval: Duration::from_millis(500), recursion: true, domain: Name::ROOT },
            max_fails: 2,
            limits: PoolLimits { expire: Duration::from_secs(10), max_age: None, max_idle: usize::MAX },
            read_timeout: Duration::from_secs(2),
            max_connect_attempts: None,
            attempts_set: false,
            force_tcp: false,
            prefer_udp: false,
            randomize_case: false,
            max_concurrent: None,
            next: Vec::new(),
            next_on_nodata: false,
            failover: Vec::new(),
            failfast: false,
            tls: ForwardTls::default(),
            doh_method: DohMethod::Post,
            source: None,
            resolver: Vec::new(),
            runtime: context.runtime.clone(),
            chain_limits: context.limits.clone(),
        };
        each_line(directive, |line| options.line(line))?;
        let expire = options.limits.expire;
        if let Some(age) = options.limits.max_age.filter(|age| *age < expire) {
            let what = format!("max_age {} is less than expire {}", shown(age), shown(expire));
            return Err(vec![directive.property("max_age").error(what, "max_age 0, or at least expire")]);
        }
        Ok(options)
    }

    /// The maximum number of attempts with this many upstreams.
    pub(super) fn attempts(&self, upstreams: usize) -> Option<usize> {
        if self.attempts_set { self.max_connect_attempts } else { Some(2 * upstreams) }
    }

    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        match line.args.split_at_checked(1) {
            Some((word, [name, rest @ ..])) if ONE_WORD_PROPERTIES.contains(&line.name.text.as_str()) => {
                let part = |name: &Word, args: &[Word]| Directive {
                    name: name.clone(),
                    args: args.to_vec(),
                    block: Vec::new(),
                };
                self.property(&part(&line.name, word))?;
                self.line(&part(name, rest))
            }
            _ => self.property(line),
        }
    }

    fn property(&mut self, line: &Directive) -> Result<(), ConfigError> {
        let number = |wanted| line.arg(wanted)?.integer(0..=i32::MAX as usize);
        let limit = |number: usize| if number == 0 { None } else { Some(number) };
        match line.name.text.as_str() {
            "except" => self.except.extend(Zones::read(line.args_from(1, "NAMES…")?)?),
            "policy" => {
                self.policy = line.arg("random|round_robin|sequential")?.choice(&[
                    ("random", PolicyKind::Random),
                    ("round_robin", PolicyKind::RoundRobin),
                    ("sequential", PolicyKind::Sequential),
                ])?;
            }
            "health_check" => self.health = health(line)?,
            "max_fails" => self.max_fails = line.arg("NUMBER")?.integer(0..=u32::MAX)?,
            "expire" => self.limits.expire = line.arg("DURATION")?.duration()?,
            "max_age" => {
                let age = line.arg("DURATION")?.duration()?;
                self.limits.max_age = (!age.is_zero()).then_some(age);
            }
            "max_idle_conns" => self.limits.max_idle = limit(number("NUMBER")?).unwrap_or(usize::MAX),
            "read_timeout" => {
                self.read_timeout =
                    line.arg("DURATION")?.duration_in(Duration::from_nanos(1).., "more than 0")?;
            }
            "max_connect_attempts" => {
                self.max_connect_attempts = limit(number("NUMBER")?);
                self.attempts_set = true;
            }
            "force_tcp" => {
                line.no_args()?;
                self.force_tcp = true;
            }
            "prefer_udp" => {
                line.no_args()?;
                self.prefer_udp = true;
            }
            "randomize_case" => {
                line.no_args()?;
                self.randomize_case = true;
            }
            "max_concurrent" => self.max_concurrent = limit(number("NUMBER")?),
            "next" => self.next.extend(rcodes(line.args_from(1, "RCODE…")?)?),
            "next_on_nodata" => {
                line.no_args()?;
                self.next_on_nodata = true;
            }
            "failover" => {
                let words = line.args_from(1, "RCODE…")?;
                self.failover.extend(rcodes(words)?);
                if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case("NOERROR")) {
                    return Err(word.error("NOERROR is not allowed in failover", "codes of failures"));
                }
            }
            "failfast_all_unhealthy_upstreams" => {
                line.no_args()?;
                self.failfast = true;
            }
            "tls" => {
                let text = |word: &Word| word.text.clone();
                (self.tls.identity, self.tls.authority) = match line.args_between(0, 3, "[CERT KEY] [CA]")? {
                    [] => (None, None),
                    [ca] => (None, Some(text(ca))),
                    [cert, key] => (Some((text(cert), text(key))), None),
                    [cert, key, ca, ..] => (Some((text(cert), text(key))), Some(text(ca))),
                };
            }
            "tls_servername" => self.tls.server_name = Some(line.arg("NAME")?.text.clone()),
            "doh_method" => {
                let choices = [("GET", DohMethod::Get), ("POST", DohMethod::Post)];
                self.doh_method = line.arg("GET|POST")?.choice(&choices)?;
            }
            "source_address" => self.source = Some(line.arg("IP")?.ip()?),
            "resolver" => {
                let words = line.args_from(1, "IP[:PORT]…")?;
                self.resolver = words.iter().map(|word| word.socket_addr(53)).collect::<Result<_, _>>()?;
            }
            _ => return Err(line.unknown(KNOWN)),
        }
        Ok(())
    }
}

fn health(line: &Directive) -> Result<HealthCheck, ConfigError> {
    let args = line.args_from(1, "DURATION [no_rec] [domain NAME]")?;
    // 0 means no pause. A millisecond keeps the loop from running as fast as connections are refused.
    let interval = args[0].duration()?.max(Duration::from_millis(1));
    let mut health = HealthCheck { interval, recursion: true, domain: Name::ROOT };
    let mut rest = args[1..].iter();
    while let Some(word) = rest.next() {
        match word.text.as_str() {
            "no_rec" => health.recursion = false,
            "domain" => {
                let name = rest.next().ok_or_else(|| word.error("domain without a name", "domain NAME"))?;
                health.domain = name.parse("a domain name")?;
            }
            _ => {
                return Err(
                    word.error(format!("unknown property '{word}' of health_check"), "no_rec or domain NAME")
                );
            }
        }
    }
    Ok(health)
}

fn rcodes(words: &[Word]) -> Result<Vec<u16>, ConfigError> {
    let read = |word: &Word| {
        let code = Rcode::named(word)
            .ok_or_else(|| word.error(format!("{word} is not a valid rcode"), "such as NXDOMAIN"));
        code.map(|code| code.0)
    };
    words.iter().map(read).collect()
}
