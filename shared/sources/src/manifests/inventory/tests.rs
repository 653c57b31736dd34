use super::super::decode::decode;
use super::*;

fn services(names: &[&str]) -> String {
    let document = |name: &&str| format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
    names.iter().map(document).collect()
}

const SERVICES: Kinds = Kinds::of(&[Kind::Service]);

/// The events in short: `+web`, `-web`, `[Service`, `Service]`.
fn events(inventory: &mut Inventory, wanted: Kinds) -> Vec<String> {
    let short = |event| match event {
        Event::Apply(object) => format!("+{}", object.key().name),
        Event::Remove(_, key) => format!("-{}", key.name),
        Event::Keep(_, key) => format!("={}", key.name),
        Event::Restart(kind) => format!("[{kind}"),
        Event::Synced(kind) => format!("{kind}]"),
        Event::Forget(kind) => format!("no {kind}"),
    };
    inventory.events(wanted, false).into_iter().map(short).collect()
}

#[test]
fn a_kind_is_sent_as_a_list_when_it_is_first_read_and_then_change_by_change() {
    let mut inventory = Inventory::default();
    inventory.put("a", decode("a", &services(&["web", "db"])));
    assert_eq!(events(&mut inventory, Kinds::default()), [""; 0]);
    assert_eq!(events(&mut inventory, SERVICES), ["[Service", "+db", "+web", "Service]"]);
    inventory.put("a", decode("a", &services(&["web", "api"])));
    let more = SERVICES.union(Kinds::of(&[Kind::Namespace]));
    assert_eq!(events(&mut inventory, more), ["[Namespace", "+default", "Namespace]", "+api", "-db"]);
    assert!(!inventory.changed(), "all events were returned");
    assert_eq!(events(&mut inventory, more), [""; 0]);
    inventory.remove("none");
    assert!(!inventory.changed());
    inventory.remove("a");
    assert!(inventory.changed());
    assert_eq!(events(&mut inventory, more), ["-default", "-api", "-web"]);
}

#[test]
fn a_kind_without_readers_is_forgotten_and_listed_again_later() {
    let mut inventory = Inventory::default();
    inventory.put("a", decode("a", &services(&["web"])));
    events(&mut inventory, SERVICES);
    assert_eq!(events(&mut inventory, Kinds::default()), ["no Service"]);
    assert_eq!(events(&mut inventory, Kinds::default()), [""; 0]);
    assert_eq!(events(&mut inventory, SERVICES), ["[Service", "+web", "Service]"]);
}

#[test]
fn the_last_valid_version_stays_while_its_file_is_invalid() {
    let mut inventory = Inventory::default();
    inventory.put("a", decode("a", &services(&["web", "db", "api"])));
    inventory.put("b", decode("b", &services(&["other"])));
    events(&mut inventory, SERVICES);
    let bad = "apiVersion: v1\nkind: Service\nmetadata: {name: [}\n".to_owned() + &services(&["db", "new"]);
    inventory.put("a", decode("a", &bad));
    assert_eq!(events(&mut inventory, SERVICES), ["+new"], "the broken document may be web or api");
    assert_eq!(inventory.problems().len(), 1);
    inventory.put("a", decode("a", &services(&["db"])));
    assert_eq!(events(&mut inventory, SERVICES), ["-api", "-new", "-web"]);
    assert!(inventory.problems().is_empty());
}

#[test]
fn the_same_object_in_two_files_is_reported_and_the_later_file_is_used() {
    let with_port = |port: u16| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{ports: [{{port: {port}}}]}}")
    };
    let port = |events: Vec<Event>| match &*events {
        [Event::Apply(Object::Service(service))] => service.ports[0].port,
        other => panic!("{other:?}"),
    };
    let mut inventory = Inventory::default();
    events(&mut inventory, SERVICES);
    inventory.put("b", decode("b", &with_port(2)));
    assert_eq!(port(inventory.events(SERVICES, false)), 2);
    inventory.put("a", decode("a", &with_port(1)));
    assert_eq!(inventory.events(SERVICES, false), []);
    let problems: Vec<_> = inventory.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "manifest b: Service default/web is also in a, and this one takes effect; wanted each object in one file"
        ]
    );
    inventory.remove("b");
    assert_eq!(port(inventory.events(SERVICES, false)), 1);
}

#[test]
fn a_kind_that_is_not_read_is_logged_once() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}";
    let mut inventory = Inventory::default();
    assert_eq!(inventory.put("a", decode("a", deployment)), ["apps/v1 Deployment"]);
    assert_eq!(inventory.put("b", decode("b", deployment)), [""; 0]);
}

#[test]
fn a_deleted_object_is_removed_although_another_has_a_defect() {
    let mut inventory = Inventory::default();
    inventory.put("a", decode("a", &services(&["web", "db"])));
    events(&mut inventory, SERVICES);
    let defect =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 1}, {port: 2}]}\n";
    inventory.put("a", decode("a", defect));
    assert_eq!(events(&mut inventory, SERVICES), ["+web", "-db"]);
    assert_eq!(inventory.problems().len(), 2, "both ports lack a name");
}

const GUARDS: Kinds = Kinds::of(&[Kind::Ingress, Kind::IngressClass, Kind::ConfigMap]);

/// An inventory that may miss no object of these kinds.
fn complete() -> Inventory {
    let mut inventory = Inventory::default();
    inventory.require_complete(GUARDS);
    inventory
}

#[test]
fn a_first_list_ends_only_when_every_object_of_the_kind_was_decoded_once() {
    let rows = [
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {block-cidrs: VALUE}\n",
            Kind::ConfigMap,
            "ConfigMap default/c",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: c, annotations: {a: VALUE}}\n",
            Kind::Ingress,
            "Ingress default/c",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: c}\nspec: {controller: VALUE}\n",
            Kind::IngressClass,
            "IngressClass c",
        ),
    ];
    for (text, kind, name) in rows {
        let (good, bad) = (text.replace("VALUE", "x"), text.replace("VALUE", "[x]"));
        let wanted = Kinds::of(&[kind]);
        let mut inventory = complete();
        inventory.put("a", decode("a", &(services(&["web"]) + "---\n" + &bad)));
        assert_eq!(events(&mut inventory, wanted), [format!("[{kind}")]);
        assert!(!inventory.is_synced(kind));
        let missing = inventory.missing(kind).unwrap();
        assert!(missing.starts_with("a:") && missing.ends_with(&format!("({name})")), "{missing}");
        let other = GUARDS.iter().find(|other| *other != kind).unwrap();
        assert_eq!(inventory.missing(other), None);
        assert_eq!(
            events(&mut inventory, wanted.union(Kinds::of(&[other]))),
            [format!("[{other}"), format!("{other}]")],
            "no other kind waits for it"
        );

        inventory.put("a", decode("a", &good));
        assert_eq!(events(&mut inventory, wanted).last(), Some(&format!("{kind}]")), "{kind}");
        inventory.put("a", decode("a", &bad));
        assert_eq!(events(&mut inventory, wanted), [""; 0], "the last valid version stays");
        inventory.put("b", decode("b", "kind: ["));
        assert!(inventory.is_synced(kind), "a later mistake takes nothing back");
    }
}

#[test]
fn a_document_that_cannot_be_parsed_may_be_of_any_kind() {
    let mut inventory = complete();
    inventory.put("a", decode("a", "kind: ["));
    for kind in GUARDS.iter() {
        assert_eq!(events(&mut inventory, Kinds::of(&[kind])).last(), Some(&format!("[{kind}")));
        assert_eq!(inventory.missing(kind), Some("a:1"));
    }
    assert_eq!(events(&mut inventory, SERVICES).last().unwrap(), "Service]", "a missing Service is a 503");
    inventory.remove("a");
    assert_eq!(events(&mut inventory, GUARDS).iter().filter(|event| event.ends_with(']')).count(), 3);
}

#[test]
fn a_file_that_cannot_be_read_may_contain_objects_of_any_kind() {
    let mut inventory = complete();
    assert_eq!(inventory.events(GUARDS, true).len(), 3, "no list ends");
    assert_eq!(events(&mut inventory, GUARDS), ["Ingress]", "IngressClass]", "ConfigMap]"]);
}

#[test]
fn a_change_of_a_file_compares_the_objects_of_that_file_only() {
    let mut inventory = Inventory::default();
    for number in 0..500 {
        let name = format!("web-{number}");
        inventory.put(&name, decode(&name, &services(&[&name])));
    }
    assert_eq!(events(&mut inventory, SERVICES).len(), 502);
    inventory.put("web-7", decode("web-7", &services(&["web-7", "new"])));
    assert_eq!(inventory.touched.len(), 1, "{:?}", inventory.touched);
    assert_eq!(events(&mut inventory, SERVICES), ["+new"]);
    inventory.remove("web-7");
    assert_eq!(events(&mut inventory, SERVICES), ["-new", "-web-7"]);
}

#[test]
fn an_object_that_moves_to_another_file_is_never_missing() {
    let mut inventory = Inventory::default();
    inventory.put("a", decode("a", &services(&["web"])));
    events(&mut inventory, SERVICES);
    inventory.put("b", decode("b", &services(&["web"])));
    inventory.remove("a");
    assert_eq!(events(&mut inventory, SERVICES), [""; 0]);
    inventory.remove("b");
    assert_eq!(events(&mut inventory, SERVICES), ["-web"]);
}
