use super::super::decode::decode;
use super::*;

fn services(names: &[&str]) -> String {
    let document = |name: &&str| format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
    names.iter().map(document).collect()
}

const SERVICES: Kinds = Kinds::of(&[Kind::Service]);

/// The news in short: `+web`, `-web`, `[Service`, `Service]`.
fn news(holding: &mut Holding, wanted: Kinds) -> Vec<String> {
    let short = |event| match event {
        Event::Apply(object) => format!("+{}", object.key().name),
        Event::Remove(_, key) => format!("-{}", key.name),
        Event::Restart(kind) => format!("[{kind}"),
        Event::Synced(kind) => format!("{kind}]"),
        Event::Forget(kind) => format!("no {kind}"),
    };
    holding.news(wanted).into_iter().map(short).collect()
}

#[test]
fn a_kind_comes_as_a_list_when_it_is_wanted_and_then_change_by_change() {
    let mut holding = Holding::default();
    holding.put("a", decode("a", &services(&["web", "db"])));
    assert_eq!(news(&mut holding, Kinds::default()), [""; 0]);
    assert_eq!(news(&mut holding, SERVICES), ["[Service", "+db", "+web", "Service]"]);
    holding.put("a", decode("a", &services(&["web", "api"])));
    let more = SERVICES.union(Kinds::of(&[Kind::Namespace]));
    assert_eq!(news(&mut holding, more), ["[Namespace", "+default", "Namespace]", "+api", "-db"]);
    assert!(!holding.changed(), "all has been told");
    assert_eq!(news(&mut holding, more), [""; 0]);
    holding.remove("none");
    assert!(!holding.changed());
    holding.remove("a");
    assert!(holding.changed());
    assert_eq!(news(&mut holding, more), ["-default", "-api", "-web"]);
}

#[test]
fn a_kind_that_nobody_reads_is_forgotten_and_comes_as_a_list_again() {
    let mut holding = Holding::default();
    holding.put("a", decode("a", &services(&["web"])));
    news(&mut holding, SERVICES);
    assert_eq!(news(&mut holding, Kinds::default()), ["no Service"]);
    assert_eq!(news(&mut holding, Kinds::default()), [""; 0]);
    assert_eq!(news(&mut holding, SERVICES), ["[Service", "+web", "Service]"]);
}

#[test]
fn the_last_good_version_stays_while_its_file_is_bad() {
    let mut holding = Holding::default();
    holding.put("a", decode("a", &services(&["web", "db", "api"])));
    holding.put("b", decode("b", &services(&["other"])));
    news(&mut holding, SERVICES);
    let bad = "apiVersion: v1\nkind: Service\nmetadata: {name: [}\n".to_owned() + &services(&["db", "new"]);
    holding.put("a", decode("a", &bad));
    assert_eq!(news(&mut holding, SERVICES), ["+new"], "web and api may be what the broken document was");
    assert_eq!(holding.problems().len(), 1);
    holding.put("a", decode("a", &services(&["db"])));
    assert_eq!(news(&mut holding, SERVICES), ["-api", "-new", "-web"]);
    assert!(holding.problems().is_empty());
}

#[test]
fn of_two_files_with_the_same_object_the_later_counts_and_that_is_said() {
    let with_port = |port: u16| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{ports: [{{port: {port}}}]}}")
    };
    let port = |events: Vec<Event>| match &*events {
        [Event::Apply(Object::Service(service))] => service.ports[0].port,
        other => panic!("{other:?}"),
    };
    let mut holding = Holding::default();
    news(&mut holding, SERVICES);
    holding.put("b", decode("b", &with_port(2)));
    assert_eq!(port(holding.news(SERVICES)), 2);
    holding.put("a", decode("a", &with_port(1)));
    assert_eq!(holding.news(SERVICES), []);
    let said: Vec<_> = holding.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["manifest b: Service default/web is also in a, and this one counts; wanted each object in one file"]
    );
    holding.remove("b");
    assert_eq!(port(holding.news(SERVICES)), 1);
}

#[test]
fn a_kind_that_is_not_read_is_mentioned_once() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}";
    let mut holding = Holding::default();
    assert_eq!(holding.put("a", decode("a", deployment)), ["apps/v1 Deployment"]);
    assert_eq!(holding.put("b", decode("b", deployment)), [""; 0]);
}
