//! Why replies of CoreDNS and Portolan differ (docs/differences-coredns.md).

use tests::differential::{GeneratedQuery, ReplyDifference};

/// Differences that are the same for all Corefiles (docs/differences-coredns.md).
pub(super) fn common(difference: &ReplyDifference) -> Option<&'static str> {
    let [coredns, _] = &difference.replies;
    if !difference.is_only_in(&["edns"]) {
        return None;
    }
    match difference.query.has_edns() {
        false => Some("a client without EDNS gets no OPT record"),
        true if coredns.contains("edns do=true") => Some("DO in a reply is that of the query"),
        true => None,
    }
}

pub(super) fn file_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let name = difference.query.name.to_lowercase();
    let is_loop = name.contains("ring") || name.contains("self");
    is_loop.then_some("aliases that lead to each other are SERVFAIL without records")
}

pub(super) fn hosts_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let GeneratedQuery { name, qtype, .. } = &difference.query;
    let is_below = *qtype == 12 && name.split('.').count() > 35;
    is_below.then_some("PTR for complete reverse names only")
}

pub(super) fn rewrite_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let is_failure = difference.replies[1].starts_with("servfail") && difference.is_only_in(&["edns"]);
    is_failure.then_some("an error reply has no options of rewrite")
}

pub(super) fn dns64_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let [coredns, portolan] = &difference.replies;
    let is_ra = coredns.replace("ra=false", "ra=true").replace("do=true", "do=false")
        == portolan.replace("ra=false", "ra=true").replace("do=true", "do=false");
    (is_ra && difference.query.qtype == 28).then_some("answers of dns64 keep RA")
}

pub(super) fn autopath_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let is_first = difference.query.name.eq_ignore_ascii_case("demo.test.");
    is_first.then_some("the first zone of a search list itself is answered as it is")
}

pub(super) fn cache_difference(difference: &ReplyDifference) -> Option<&'static str> {
    difference.is_only_in_ttls(5).then_some("the answers were cached at different times")
}

pub(super) fn cluster_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let [coredns, portolan] = &difference.replies;
    let GeneratedQuery { name, qtype, .. } = &difference.query;
    // CoreDNS denies the name, or passes the query on where denied names fall through.
    let is_no_data = portolan.starts_with("noerror") && !portolan.contains("\nanswer ");
    if is_no_data && *qtype == 16 && !coredns.contains("\nanswer ") {
        return Some("TXT at a name without records is NODATA");
    }
    let is_server = name.to_lowercase().ends_with("ns.dns.cluster.local.");
    is_server.then_some("ns.dns exists for every type and in any letter case")
}

/// Has no explanation of its own.
pub(super) fn forward_difference(_: &ReplyDifference) -> Option<&'static str> {
    None
}

pub(super) fn forward_cache_difference(difference: &ReplyDifference) -> Option<&'static str> {
    let is_denied_alias = difference.query.name.to_lowercase().ends_with("gone.up.test.");
    if is_denied_alias && difference.is_only_in_ttls(u32::MAX) {
        return Some("NXDOMAIN behind a CNAME is stored");
    }
    cache_difference(difference)
}
