//! GeoIP: whether there are variables about the address of the client.

use super::{AnnotationFamily, FamilyKey};
use crate::geo::GeoSettings;
use crate::plan::phase::Phase;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "geoip",
    doc: "The variables `$geoip2_*` of log formats, snippets and headers, from databases of MaxMind: the files that `--maxmind-edition-ids` names, \
          in /etc/ingress-controller/geoip. They are not downloaded. Where no database has a variable it is unknown, as it is without the key. \
          A file that is missing or invalid is reported; its variables are empty then.",
    keys: &[FamilyKey {
        name: "use-geoip2",
        values: "true, false; default false",
        doc: "requests have the variables of the databases",
    }],
    phases: &[Phase::Server],
    syntax: "use-geoip2: 'true'",
    read_keys: |reader, values| {
        let defaults = values.take::<GeoSettings>().unwrap_or_default();
        let is_enabled = reader.flag("use-geoip2").unwrap_or(defaults.is_enabled);
        let settings = GeoSettings { is_enabled, ..defaults };
        reader.set_geo(settings.clone());
        values.set(settings);
    },
    ..AnnotationFamily::NONE
};

#[cfg(test)]
mod tests {
    use cluster::Current;

    use crate::exchange::tests::get;
    use crate::geo::tests::databases;
    use crate::testing::{TestCluster, edited_request, edited_response};

    const INGRESS: &str = "
metadata:
  name: main
  annotations:
    upstream-vhost: $geoip2_city_country_code.example
    configuration-snippet: |
      more_set_headers \"X-City: $geoip2_city\";
      if ($geoip2_city_country_code = BR) { return 403; }
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
";
    const SNIPPETS: [(&str, &str); 2] =
        [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

    fn configured(keys: &[(&str, &str)]) -> TestCluster {
        let mut cluster = TestCluster::configured(INGRESS).services("web 80:http 10.0.0.1");
        cluster.configure(&[&SNIPPETS, keys].concat());
        cluster
    }

    #[test]
    fn snippets_and_annotations_have_the_variables_of_the_client() {
        let cluster = configured(&[("use-geoip2", "true"), ("use-forwarded-headers", "true")]);
        assert_eq!(cluster.problems(), [""; 0]);
        let geo = Current::new(databases()).local().load();
        let outcome = |client: &str| {
            let mut exchange = get("http://a.example/", &[("x-forwarded-for", client)]);
            exchange.geo = Some(geo.clone());
            let outcome = cluster.answer(&mut exchange, 0);
            let city = edited_response(&cluster, &exchange, 200, &[]).get("x-city").cloned();
            let city = city.map_or("-".to_owned(), |city| city.to_str().unwrap().to_owned());
            format!("{outcome} {city}")
        };
        assert_eq!(outcome("192.0.2.7"), "web London");
        assert_eq!(outcome("198.51.100.1"), "403 S%C3%A3o Paulo");
        assert_eq!(outcome("203.0.113.1"), "web -", "in no database");
        let mut exchange = get("http://a.example/", &[("x-forwarded-for", "192.0.2.7")]);
        exchange.geo = Some(geo.clone());
        exchange.identify(&cluster.table.load().server().identity, None);
        assert!(edited_request(&cluster, &mut exchange).contains(&"Host: GB.example".to_owned()));
    }

    #[test]
    fn without_databases_the_variables_are_empty_and_without_the_key_unknown() {
        let cluster = configured(&[("use-geoip2", "true")]);
        assert_eq!(cluster.get("http://a.example/"), "web", "no database has been read");
        let cluster = configured(&[]);
        assert_eq!(cluster.get("http://a.example/"), "503");
        let problems = cluster.problems();
        let unknown = "is not a known variable without use-geoip2";
        assert!(problems.len() == 3 && problems.iter().all(|it| it.contains(unknown)), "{problems:?}");
    }

    #[test]
    fn a_change_of_the_key_builds_the_routes_again() {
        let mut cluster = configured(&[]);
        for (value, wanted) in [("true", "web"), ("false", "503"), ("true", "web"), ("yes", "503")] {
            cluster.configure(&[&SNIPPETS[..], &[("use-geoip2", value)]].concat());
            assert_eq!(cluster.get("http://a.example/"), wanted, "{value}");
        }
    }

    #[test]
    fn log_formats_and_headers_of_configmaps_have_no_variable_that_no_database_has() {
        let mut cluster = configured(&[("use-geoip2", "true"), ("log-format-upstream", "$geoip2_city")]);
        let has_format = |cluster: &TestCluster| cluster.table.load().server().access_log.format.is_some();
        assert!(has_format(&cluster));
        cluster.configure(&[("use-geoip2", "true"), ("log-format-upstream", "$geoip2_isp")]);
        assert!(!has_format(&cluster));
        let problems = cluster.problems();
        assert!(
            problems.iter().any(|it| it.contains("no database of --maxmind-edition-ids has it")),
            "{problems:?}"
        );
    }
}
