//! The Corefile of `portolan up`: built-in or given by `--conf`, adapted to the addresses of the command line.

use std::sync::Arc;

use config::Corefile;
use dns_server::CorefileLoader;

use crate::args::UpArgs;
use crate::built_in_corefile::built_in;
use crate::dns::{self, CorefileSource};

/// Reads the Corefile and adapts it: port 53 is replaced by the port of `--dns`, the addresses of `health`, `ready` and
/// `prometheus` by that of `--admin`, and every server block logs its queries.
pub fn load(args: &UpArgs) -> CorefileLoader {
    let conf = match &args.conf {
        Some(path) => CorefileSource::File(path.clone()),
        None => CorefileSource::Text("built-in Corefile", built_in().into()),
    };
    let (load, port, admin) = (dns::load(conf, args.dns.port()), args.dns.port(), args.admin.to_string());
    Arc::new(move || load().map(|corefile| adapt(corefile, port, &admin)))
}

fn adapt(mut corefile: Corefile, port: u16, admin: &str) -> Corefile {
    for block in &mut corefile.blocks {
        for key in block.keys.iter_mut().filter(|key| key.port == 53) {
            key.port = port;
        }
        let pages = |name: &str| matches!(name, "health" | "ready" | "prometheus");
        for directive in block.directives.iter_mut().filter(|directive| pages(&directive.name)) {
            let address = config::Word::new(admin, &directive.name.at);
            directive.args = vec![address];
        }
        if !block.directives.iter().any(|directive| *directive.name == *"log")
            && let Some(first) = block.keys.first()
        {
            let name = config::Word::new("log", &first.at);
            block.directives.push(config::Directive { name, args: Vec::new(), block: Vec::new() });
        }
    }
    corefile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_admin_addresses_are_replaced_and_queries_are_logged() {
        let text = ".:53 a.example:5353 {\n health :8080\n ready\n cache 30\n}\n";
        let corefile = Corefile::parse("Corefile", text, &config::Disk, &config::ParseOptions::default())
            .expect("the Corefile is valid");
        let corefile = adapt(corefile, 1053, "127.0.0.1:10254");
        let block = &corefile.blocks[0];
        assert_eq!(block.keys.iter().map(|key| key.port).collect::<Vec<_>>(), [1053, 5353]);
        let lines = block.directives.iter().map(|directive| {
            directive.args.iter().fold(directive.name.text.clone(), |line, arg| line + " " + &arg.text)
        });
        assert_eq!(
            lines.collect::<Vec<_>>(),
            ["health 127.0.0.1:10254", "ready 127.0.0.1:10254", "cache 30", "log"]
        );
    }
}
