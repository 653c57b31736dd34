//! Which requests have a line in the access log, and its format.

use std::sync::Arc;

use super::{LineFormat, SkippedUrls, StreamLineFormat};

/// The keys of the ConfigMap about the access log.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogSettings {
    /// Requests are logged, unless `disable-access-log` or `disable-http-access-log`.
    pub is_enabled: bool,
    /// Streams are logged, unless `disable-access-log` or `disable-stream-access-log`.
    pub has_streams: bool,
    /// `enable-access-log-for-default-backend`: requests that no Ingress covers are logged, too.
    pub has_default_backend: bool,
    /// `log-format-upstream` and how values are escaped; `None` for the format of ingress-nginx.
    pub format: Option<Arc<LineFormat>>,
    /// `log-format-stream`; `None` for the format of ingress-nginx.
    pub stream_format: Option<Arc<StreamLineFormat>>,
    /// `skip-access-log-urls`: requests to these have no line.
    pub skipped_urls: Arc<SkippedUrls>,
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self {
            is_enabled: true,
            has_streams: true,
            has_default_backend: false,
            format: None,
            stream_format: None,
            skipped_urls: Arc::default(),
        }
    }
}
