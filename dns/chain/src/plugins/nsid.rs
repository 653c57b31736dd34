//! `nsid`: tells clients that ask for it which server answered (RFC 5001).

use std::sync::Arc;

use crate::host;
use crate::plugin::{After, Answer, Flow, Hooks, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "nsid",
    about: "tells clients that ask for it which server answered (RFC 5001)",
    syntax: &["nsid", "nsid \"rack 7\""],
    options: &[PluginOption {
        syntax: "[DATA…]",
        default: "the name of the host",
        about: "The text of the NSID option. Several words are joined by blanks.",
    }],
    early: false,
    metrics: |_| {},
    setup,
};

/// The code of the option (RFC 5001 §4).
const NSID: u16 = 3;

struct Nsid {
    data: Box<[u8]>,
    asked: Arc<AskedForNsid>,
}

/// Attached to a query whose client asks for the option. `rewrite` may set or remove it for the plugins below.
struct AskedForNsid;

impl Plugin for Nsid {
    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::REPLY)
    }

    // Hot: 0 allocations once the list of attached values has grown.
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        if request.query.option(NSID).is_some() {
            request.extensions.insert(self.asked.clone());
        }
        Flow::Next
    }

    // Hot: 0 allocations once the reply's buffers have grown.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        if request.extensions.get::<AskedForNsid>().is_some() {
            answer.reply.remove_options(NSID);
            answer.reply.push_option(NSID, &self.data);
        }
        After::Pass
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    directive.no_block().map_err(|error| vec![error])?;
    let words: Vec<&str> = directive.args.iter().map(|word| &**word).collect();
    let data = if words.is_empty() { host::name() } else { words.join(" ") };
    Ok(vec![Arc::new(Nsid { data: data.into_bytes().into(), asked: Arc::new(AskedForNsid) })])
}
