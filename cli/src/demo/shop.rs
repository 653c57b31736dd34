//! What the web Pods of the demo answer: the request as text, a page for browsers, and a cart.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::{Method, Request, Response};

/// The page for browsers.
const PAGE: &str = include_str!("shop.html");

/// Carts that a Pod keeps; when there are more, it forgets all of them.
const MAX_CARTS: usize = 1000;

/// The cookie that names a cart.
const CART_COOKIE: &str = "basket";

/// One Pod: its name and its carts, by the value of their cookie.
pub struct DemoPod {
    name: String,
    carts: Mutex<HashMap<String, u32>>,
}

impl DemoPod {
    /// A Pod without carts.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), carts: Mutex::default() }
    }

    /// The response to a request.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        match path {
            "/cart" if request.method() == Method::POST => self.add_to_cart(request.headers()),
            "/" if accepts_html(request.headers()) => {
                respond("text/html; charset=utf-8", PAGE.replace("POD_NAME", &self.name))
            }
            _ => respond("text/plain; charset=utf-8", self.describe(request)),
        }
    }

    /// The name of the Pod and the received request, which show canary routing, session affinity and the headers that a proxy adds.
    fn describe<B>(&self, request: &Request<B>) -> String {
        let mut text = format!("{} answers {} {}\n", self.name, request.method(), request.uri());
        for (name, value) in request.headers() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {name}: {}", value.to_str().unwrap_or("(not text)"));
        }
        text
    }

    fn add_to_cart(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let mut carts = self.carts.lock().unwrap_or_else(PoisonError::into_inner);
        if carts.len() >= MAX_CARTS {
            carts.clear();
        }
        let known = cart_cookie(headers);
        let cart = known.map_or_else(|| format!("{}-{}", self.name, carts.len() + 1), str::to_owned);
        let lamps = carts.entry(cart.clone()).or_default();
        *lamps += 1;
        let plural = if *lamps == 1 { "" } else { "s" };
        let mut response =
            respond("text/plain; charset=utf-8", format!("{lamps} lamp{plural}, kept by {}\n", self.name));
        if known.is_none()
            && let Ok(cookie) = HeaderValue::from_str(&format!("{CART_COOKIE}={cart}; Path=/cart"))
        {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"))
}

fn cart_cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split("; "))
        .find_map(|cookie| cookie.strip_prefix(CART_COOKIE)?.strip_prefix('='))
}

fn respond(content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(pod: &DemoPod, request: http::request::Builder) -> (String, Option<String>) {
        let response = pod.respond(&request.body(()).unwrap());
        let cookie = response.headers().get(SET_COOKIE).map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (String::from_utf8(body.to_vec()).unwrap(), cookie)
    }

    #[tokio::test]
    async fn a_browser_gets_a_page_and_others_the_request() {
        let pod = DemoPod::new("web-0");
        let (page, _) = text(&pod, Request::get("/").header(ACCEPT, "text/html,*/*;q=0.8")).await;
        assert!(page.contains("<strong id=\"pod\">web-0</strong>") && !page.contains("POD_NAME"));
        let (plain, _) = text(&pod, Request::get("/").header(ACCEPT, "*/*")).await;
        assert_eq!(plain, "web-0 answers GET /\n  accept: */*\n");
    }

    #[tokio::test]
    async fn a_cart_belongs_to_a_cookie_and_to_a_pod() {
        let (pod, other) = (DemoPod::new("web-0"), DemoPod::new("web-1"));
        let (first, cookie) = text(&pod, Request::post("/cart")).await;
        assert_eq!(
            (&*first, cookie.as_deref()),
            ("1 lamp, kept by web-0\n", Some("basket=web-0-1; Path=/cart"))
        );
        let again = || Request::post("/cart").header(COOKIE, "x=y; basket=web-0-1");
        assert_eq!(text(&pod, again()).await, ("2 lamps, kept by web-0\n".to_owned(), None));
        assert_eq!(text(&other, again()).await.0, "1 lamp, kept by web-1\n");
        for _ in 0..MAX_CARTS {
            text(&pod, Request::post("/cart")).await;
        }
        assert!(pod.carts.lock().unwrap().len() <= MAX_CARTS);
    }
}
