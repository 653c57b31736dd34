//! The live page.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};
use tests::http;

use crate::site::{LIVE, Site};

/// The page with all it loads, in bytes.
const MAX_SIZE: u64 = 150 * 1024;

fn request(host: &str, path: &str) {
    http::get(([127, 0, 0, 1], 8080).into(), host, path).expect("the proxy answers");
}

pub(crate) fn figures_are_those_of_real_requests(site: &mut Site) {
    let browser = &mut site.browser;
    browser.open(LIVE);
    browser.wait_for("document.getElementById('connection').textContent === 'live'");
    let counted = |text: &str| {
        let digits = text.split("; ").nth(1).unwrap_or_default().replace(',', "");
        digits.split(' ').next().and_then(|count| count.parse::<u64>().ok())
    };
    browser.wait_for("document.getElementById('http-note').textContent.includes('since the start')");
    let before = counted(&browser.text("http-note")).expect("a count");
    for _ in 0..20 {
        request("shop.localhost", "/");
    }
    browser.wait_for(&format!(
        "parseInt(document.getElementById('http-note').textContent.split('; ')[1].replaceAll(',', '')) >= {}",
        before + 20
    ));
    for (id, word) in [("hosts", "shop.localhost"), ("canaries", "shop/shop-canary"), ("sources", "synced")] {
        let text = browser.text(id);
        assert!(text.contains(word), "{id}: wanted {word} in {text}");
    }
    browser.screenshot("live");
}

pub(crate) fn a_request_is_explained(site: &mut Site) {
    let browser = &mut site.browser;
    browser.open(LIVE);
    browser.evaluate(
        "document.getElementById('explain-url').value = 'http://shop.localhost/';
         document.getElementById('explain-header').value = 'X-Canary: always';
         document.querySelector('#explain button').click()",
    );
    browser.wait_for("document.getElementById('explained').textContent.includes('goes to the canary')");
    browser.evaluate(
        "document.getElementById('explain-url').value = 'no url'; document.querySelector('#explain button').click()",
    );
    browser.wait_for("!document.getElementById('explained').textContent.includes('canary')");
}

pub(crate) fn the_search_finds_a_route(site: &mut Site) {
    let browser = &mut site.browser;
    browser.open(LIVE);
    browser.wait_for("document.querySelectorAll('#routes tr').length > 2");
    browser.evaluate(
        "document.getElementById('search').value = 'streams.localhost';
         document.getElementById('search').dispatchEvent(new Event('input'))",
    );
    browser.wait_for("document.querySelectorAll('#routes tr').length === 1");
    assert!(browser.text("routes").contains("10.244.0.9:9000"));
}

pub(crate) fn text_of_clients_and_objects_is_text(site: &mut Site) {
    let browser = &mut site.browser;
    request("<img src=x onerror=document.title='run'>", "/<script>document.title='run'</script>");
    browser.open(LIVE);
    browser.wait_for("document.getElementById('problems').textContent.includes('<img src=x')");
    assert_eq!(browser.evaluate("document.querySelectorAll('main img, main script').length"), 0);
    browser.evaluate(
        "document.getElementById('explain-url').value = 'http://shop.localhost/<img src=x onerror=document.title=\"run\">';
         document.querySelector('#explain button').click()",
    );
    browser.wait_for("document.getElementById('explained').textContent.length > 0");
    assert_eq!(browser.evaluate("document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(browser.evaluate("document.title"), "Portolan");
}

/// Asks for the AAAA records of a name, which may have any bytes, and waits for the answer.
fn look_up(labels: &[&str]) {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 28, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    socket.send_to(&query, "127.0.0.1:1053").expect("it is sent");
    socket.recv(&mut [0; 512]).expect("the server answers");
}

pub(crate) fn names_of_queries_have_their_shares_and_are_text(site: &mut Site) {
    for first in ["db", "<img>", "db"] {
        look_up(&[first, "shop", "svc", "cluster", "local"]);
    }
    let browser = &mut site.browser;
    browser.open(LIVE);
    browser.wait_for("document.getElementById('names').textContent.includes('<img>.shop')");
    let rows = browser.text("names");
    assert!(
        rows.contains("db.shop.svc.cluster.local.") && rows.contains("AAAA") && rows.contains('%'),
        "{rows}"
    );
    assert_eq!(browser.evaluate("document.querySelectorAll('main img, main script').length"), 0);
}

pub(crate) fn it_is_small_and_loads_nothing_from_elsewhere(site: &mut Site) {
    let browser = &mut site.browser;
    browser.take_complaints();
    browser.open(LIVE);
    browser.wait_for("document.getElementById('connection').textContent === 'live'");
    let loaded = browser.evaluate(
        "performance.getEntries().filter((entry) => entry.transferSize !== undefined)
            .map((entry) => [entry.name, entry.transferSize])",
    );
    let loaded = loaded.as_array().expect("a list");
    let size: u64 = loaded.iter().filter_map(|entry| entry[1].as_u64()).sum();
    assert!((10_000..MAX_SIZE).contains(&size), "{size} bytes: {loaded:?}");
    let is_own = |entry: &Value| entry[0].as_str().is_some_and(|url| url.starts_with(LIVE));
    assert!(loaded.iter().all(is_own), "{loaded:?}");
    assert_eq!(browser.take_complaints(), Vec::<String>::new());
}

pub(crate) fn every_control_has_a_name_and_is_reached_by_the_keyboard(site: &mut Site) {
    let browser = &mut site.browser;
    browser.open(LIVE);
    browser.wait_for("document.querySelectorAll('#routes tr').length > 2");
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let controls = ["textbox", "searchbox", "button", "link"];
    let nodes = tree["nodes"].as_array().expect("a tree");
    let unnamed: Vec<_> = nodes
        .iter()
        .filter(|node| controls.iter().any(|role| node["role"]["value"] == *role))
        .filter(|node| node["name"]["value"].as_str().unwrap_or_default().is_empty())
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    let mut reached = Vec::new();
    for _ in 0..20 {
        browser.press("Tab", 9);
        let active = browser.evaluate(
            "document.activeElement.id || document.activeElement.className || document.activeElement.tagName",
        );
        reached.push(active.as_str().unwrap_or_default().to_owned());
    }
    for wanted in ["skip", "explain-url", "explain-header", "explain-from", "BUTTON", "search", "A"] {
        assert!(reached.iter().any(|name| name == wanted), "{wanted} is not among {reached:?}");
    }
}

pub(crate) fn it_is_legible_in_light_and_in_dark(site: &mut Site) {
    let browser = &mut site.browser;
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", media);
        browser.open(LIVE);
        browser.wait_for("document.querySelectorAll('#routes tr').length > 2");
        // WCAG 2.2 §1.4.3: the contrast of text is at least 4.5.
        let low = browser.evaluate(
            "(() => {
                const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
                const light = (colour) => channels(colour).slice(0, 3).map((value) => value / 255)
                    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
                    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
                const behind = (element) => {
                    for (let at = element; at; at = at.parentElement) {
                        const colour = getComputedStyle(at).backgroundColor;
                        if (channels(colour)[3] !== 0) return colour;
                    }
                };
                const low = [];
                for (const element of document.querySelectorAll('h1, h2, h3, p, td, th, li, label, a, button')) {
                    if (!element.innerText || !element.innerText.trim() || element.className === 'skip') continue;
                    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
                    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
                    if (contrast < 4.5) low.push([element.innerText.slice(0, 30), contrast]);
                }
                return low;
            })()",
        );
        assert_eq!(low, json!([]), "{scheme}");
        backgrounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
        (0..20).for_each(|_| request("shop.localhost", "/"));
        look_up(&["web", "shop", "svc", "cluster", "local"]);
        browser.wait_for("document.getElementById('http-note').textContent.includes('since the start')");
        browser.wait_for("document.getElementById('names').textContent.includes('web.shop')");
        browser.screenshot(&format!("live-{scheme}"));
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
}

pub(crate) fn a_lost_connection_is_said_and_comes_back(site: &mut Site) {
    site.browser.open(LIVE);
    site.browser.wait_for("document.getElementById('connection').textContent === 'live'");
    site.stop_portolan();
    site.browser.wait_for("document.getElementById('connection').textContent.startsWith('connection lost')");
    site.start_portolan();
    site.browser.wait_for("document.getElementById('connection').textContent === 'live'");
}
