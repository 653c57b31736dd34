//! Strict-Transport-Security (RFC 6797).

use tests::browser::Browser;
use tests::http;

use crate::site::Site;

/// How many requests for `hsts.example` in clear text the proxy has redirected to https.
fn redirected() -> usize {
    let page =
        http::get(([127, 0, 0, 1], 10254).into(), "localhost", "/metrics").expect("the page of metrics");
    let text = page.text();
    let series = text.lines().filter(|line| {
        line.starts_with("nginx_ingress_controller_requests{")
            && line.contains("host=\"hsts.example\"")
            && line.contains("status=\"308\"")
    });
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

pub(crate) fn after_an_answer_with_hsts_the_browser_asks_over_https_only(site: &mut Site) {
    // Browsers store the header only if the certificate is good, and for names, not for addresses.
    let hosts = "MAP hsts.example:80 127.0.0.1:8080, MAP hsts.example:443 127.0.0.1:8443, MAP hsts.example:8443 127.0.0.1:8443";
    let mut browser = Browser::start_trusting(&site.profile("hsts"), &site.key, hosts);
    // The proxy redirects the first visit, to the port that it serves. Of later ones it sees only the request over https, since the
    // browser takes port 443 for port 80 by itself.
    for (path, url) in [
        ("/page", "https://hsts.example:8443/page"),
        ("/page", "https://hsts.example/page"),
        ("/page?2", "https://hsts.example/page?2"),
    ] {
        browser.open(&format!("http://hsts.example{path}"));
        assert_eq!(browser.evaluate("location.href"), url);
        assert_eq!(redirected(), 1, "{url}");
        browser.open("data:text/html,other");
    }
}
