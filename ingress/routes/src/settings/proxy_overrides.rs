//! A part of the settings of requests to endpoints, which replaces that of a wider scope.

use std::time::Duration;

use http::Version;

use super::{NextUpstream, ProxySettings};

/// Values that replace those of [`ProxySettings`]: of annotations, keys of the ConfigMap, or directives of a snippet.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct ProxyOverrides {
    pub connect_timeout: Option<Duration>,
    pub send_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,
    pub body_size: Option<u64>,
    pub body_buffer: Option<u64>,
    pub head_size: Option<u64>,
    pub request_buffering: Option<bool>,
    pub next_upstream: Option<NextUpstream>,
    pub next_upstream_tries: Option<u32>,
    pub next_upstream_timeout: Option<Duration>,
    pub http_version: Option<Version>,
}

impl ProxyOverrides {
    /// The settings with these values in place of their own.
    pub fn over(&self, settings: &ProxySettings) -> ProxySettings {
        ProxySettings {
            connect_timeout: self.connect_timeout.unwrap_or(settings.connect_timeout),
            send_timeout: self.send_timeout.unwrap_or(settings.send_timeout),
            read_timeout: self.read_timeout.unwrap_or(settings.read_timeout),
            body_size: self.body_size.unwrap_or(settings.body_size),
            body_buffer: self.body_buffer.unwrap_or(settings.body_buffer),
            head_size: self.head_size.unwrap_or(settings.head_size),
            request_buffering: self.request_buffering.unwrap_or(settings.request_buffering),
            next_upstream: self.next_upstream.unwrap_or(settings.next_upstream),
            next_upstream_tries: self.next_upstream_tries.unwrap_or(settings.next_upstream_tries),
            next_upstream_timeout: self.next_upstream_timeout.unwrap_or(settings.next_upstream_timeout),
            http_version: self.http_version.unwrap_or(settings.http_version),
        }
    }
}
