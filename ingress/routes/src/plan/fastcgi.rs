//! What FastCGI applications get besides the parameters of every request (`fastcgi-index`, `fastcgi-params-configmap`).

use std::fmt::Debug;

use crate::exchange::Exchange;
use crate::path::normalise;

/// `$document_root`: where nginx is installed in ingress-nginx, for lack of a `root`.
pub const DOCUMENT_ROOT: &str = "/usr/local/nginx/html";

/// Options of requests to FastCGI applications.
#[derive(Debug, Default)]
pub struct FastCgiOptions {
    /// `fastcgi-index`: appended to a script name that ends with a slash.
    pub index: Option<String>,
    /// Further parameters, which replace those of the same name.
    pub params: Vec<(String, Box<dyn FastCgiValue>)>,
}

/// The value of a parameter.
pub trait FastCgiValue: Debug + Send + Sync {
    /// Its value for a request; `script` is `$fastcgi_script_name`.
    fn value(&self, exchange: &Exchange, script: &str) -> String;
}

impl FastCgiOptions {
    /// `$uri`, as a filter may have rewritten it, decoded.
    pub fn document_uri(exchange: &Exchange) -> String {
        let rewritten = exchange.target.as_deref().map(|target| target.split('?').next().unwrap_or_default());
        match rewritten {
            Some(path) => normalise(path).map_or_else(|_| path.to_owned(), |path| path.into_owned()),
            None => exchange.path().to_owned(),
        }
    }

    /// `$fastcgi_script_name`.
    pub fn script_name(&self, exchange: &Exchange) -> String {
        let mut name = Self::document_uri(exchange);
        if let Some(index) = self.index.as_ref().filter(|_| name.ends_with('/')) {
            name.push_str(index);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::get;

    #[test]
    fn the_index_is_appended_to_a_directory() {
        let options = FastCgiOptions { index: Some("index.php".into()), params: Vec::new() };
        for (url, target, script) in [
            ("http://a/x/", None, "/x/index.php"),
            ("http://a/x%20y?q=/", None, "/x y"),
            ("http://a/x", Some("/other/?q"), "/other/index.php"),
            ("http://a/x", Some("/b%20c"), "/b c"),
        ] {
            let mut exchange = get(url, &[]);
            exchange.target = target.map(str::to_owned);
            assert_eq!(options.script_name(&exchange), script, "{url} {target:?}");
        }
        assert_eq!(FastCgiOptions::default().script_name(&get("http://a/", &[])), "/");
    }
}
