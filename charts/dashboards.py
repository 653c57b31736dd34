#!/usr/bin/env python3
"""Writes the Grafana dashboards of the chart, portolan/dashboards/*.json, from the tables below.

    charts/dashboards.py           writes the files
    charts/dashboards.py --check   exits with 1 if a file differs from its table

Panels ask what the dashboards of CoreDNS and ingress-nginx ask, so that the numbers can be compared before and after a
migration; panels named "Portolan" ask for its own metrics. A house test (tests/tests/house/monitoring.rs) checks that every
metric is one that the binary has.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent / "portolan" / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24


def variable(name, label, query):
    """A variable with the values of a label. `All` also matches series without the label."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def panel(kind, title, queries, unit="short", width=8, height=8, about=None, **extra):
    """A panel. `queries` is a PromQL expression or a dictionary of legends and expressions."""
    if isinstance(queries, str):
        queries = {"": queries}
    targets = [
        {
            "refId": chr(ord("A") + at),
            "datasource": DATASOURCE,
            "expr": " ".join(expression.split()),
            "legendFormat": legend or "__auto",
        }
        for at, (legend, expression) in enumerate(queries.items())
    ]
    shown = {"title": title, "type": kind, "datasource": DATASOURCE, "targets": targets}
    if about:
        shown["description"] = about
    defaults = {"unit": unit}
    if kind == "timeseries":
        defaults |= {"min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}}
        shown["options"] = {
            "legend": {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif kind == "stat":
        shown["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "value",
            "graphMode": "area",
            "orientation": "auto",
            "textMode": "auto",
            "justifyMode": "auto",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        }
    elif kind == "heatmap":
        for target in targets:
            target |= {"format": "heatmap", "legendFormat": "{{le}}"}
        shown["options"] = {
            "calculate": False,
            "yAxis": {"unit": unit},
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Blues", "fill": "dark-orange", "exponent": 0.5, "steps": 64, "reverse": False},
            "showValue": "never",
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
        }
    elif kind == "table":
        for target in targets:
            target |= {"format": "table", "instant": True}
    defaults |= extra.pop("defaults", {})
    shown["fieldConfig"] = {"defaults": defaults, "overrides": extra.pop("overrides", [])}
    shown |= extra
    return shown | {"gridPos": {"w": width, "h": height}}


def graph(title, queries, unit="short", **more):
    return panel("timeseries", title, queries, unit, **more)


def stat(title, query, unit="short", **more):
    return panel("stat", title, query, unit, width=more.pop("width", 4), height=4, **more)


def steps(*colours):
    """Thresholds: the colour from each value on; the first has none."""
    return {"defaults": {"thresholds": {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in colours]}}}


BAD_IF_ANY = steps((None, "green"), (1, "red"))


def quantiles(metric, selector, by="", quantiles=(0.5, 0.9, 0.99), legend=""):
    groups = ", ".join(filter(None, ["le", by]))
    return {
        f"p{round(q * 100)}{legend}": f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{{{selector}}}[$__rate_interval])))"
        for q in quantiles
    }


def rate(metric, selector, by=""):
    by = f" by ({by}) " if by else ""
    return f"sum{by}(rate({metric}{{{selector}}}[$__rate_interval]))"


def dashboard(uid, title, about, tags, variables, rows, annotations=()):
    """Places the panels of each row from left to right and numbers them."""
    panels, y, number = [], 0, 0
    for name, members in rows:
        number += 1
        panels.append(
            {"id": number, "type": "row", "title": name, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}}
        )
        y, x, tallest = y + 1, 0, 0
        for member in members:
            size = member["gridPos"]
            if x + size["w"] > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            panels.append({"id": number} | member | {"gridPos": {"x": x, "y": y, **size}})
            x, tallest = x + size["w"], max(tallest, size["h"])
        y += tallest
    datasource = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": tags,
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [datasource, *variables]},
        "annotations": {"list": list(annotations)},
        "panels": panels,
    }


def own_state(vector):
    """What both services say about their state. `vector` selects the series of a metric, or their rates."""
    return [
        graph(
            "Portolan: sources connected",
            {"{{instance}} {{kind}}": f"{vector('portolan_source_connected')}"},
            about="0 while the API server cannot be reached or refuses: answers come from the last known state.",
            defaults={"max": 1},
        ),
        graph(
            "Portolan: time since the source last sent anything",
            {"{{kind}}": f"time() - max by (kind) ({vector('portolan_source_last_event_timestamp_seconds')})"},
            "s",
            about="Watches send bookmarks about once a minute even when nothing changes.",
        ),
        graph(
            "Portolan: problems of the configuration",
            {"{{level}} {{scope}} {{kind}}": f"max by (level, scope, kind) ({vector('portolan_config_problems')})"},
            about="Objects and settings that are not served as written; the page /problems says which and why.",
        ),
        graph("Portolan: objects", {"{{kind}}": f"max by (kind) ({vector('portolan_cluster_objects')})"}),
        graph(
            "Portolan: from event to effect",
            {
                f"p{round(q * 100)}": f"histogram_quantile({q}, sum by (le) ({vector('portolan_cluster_publish_seconds_bucket', rate=True)}))"
                for q in (0.5, 0.99)
            },
            "s",
            about="From the receipt of a change of the cluster until it is served.",
        ),
        graph(
            "Portolan: changes received",
            {"{{instance}}": f"sum by (instance) ({vector('portolan_cluster_events_total', rate=True)})"},
            "ops",
        ),
    ]


def dns():
    s = 'cluster=~"$cluster", job=~"$job", instance=~"$instance"'
    scope = 'cluster=~"$cluster", job=~"$job"'
    requests, responses = "coredns_dns_requests_total", "coredns_dns_responses_total"
    proxied = s + ', proxy_name="forward"'
    servfail = s + ', rcode="SERVFAIL"'
    variables = [
        variable("cluster", "Cluster", "label_values(coredns_build_info, cluster)"),
        variable("job", "Job", 'label_values(coredns_build_info{cluster=~"$cluster"}, job)'),
        variable("instance", "Instance", f"label_values(coredns_build_info{{{scope}}}, instance)"),
    ]

    def vector(metric, rate=False):
        return f"rate({metric}{{{s}}}[$__rate_interval])" if rate else f"{metric}{{{s}}}"

    def sizes(which):
        return [
            graph(
                f"{which.capitalize()} sizes over {proto.upper()}",
                quantiles(f"coredns_dns_{which}_size_bytes", f'{s}, proto="{proto}"', "proto"),
                "bytes",
            )
            for proto in ("udp", "tcp")
        ]

    overview = [
        stat("Instances up", f"sum(up{{{s}}} and on (job, instance) coredns_build_info{{{s}}})"),
        stat("Queries", rate(requests, s), "reqps"),
        stat(
            "SERVFAIL",
            f"{rate(responses, servfail)} / {rate(responses, s)}",
            "percentunit",
            **steps((None, "green"), (0.01, "orange"), (0.03, "red")),
        ),
        stat("Duration, p99", quantiles("coredns_dns_request_duration_seconds", s)["p99"], "s"),
        stat(
            "Cache hits",
            f'{rate("coredns_cache_hits_total", s)} / {rate("coredns_cache_requests_total", s)}',
            "percentunit",
        ),
        stat("Panics", f"sum(increase(coredns_panics_total{{{s}}}[$__range]))", **BAD_IF_ANY),
    ]
    queries = [
        graph("Queries by protocol", {"{{proto}}": rate(requests, s, "proto")}, "reqps"),
        graph("Queries by type", {"{{type}}": rate(requests, s, "type")}, "reqps"),
        graph("Queries by zone", {"{{zone}}": rate(requests, s, "zone")}, "reqps"),
        graph(
            "Queries with the DO bit",
            {"DO": rate("coredns_dns_do_requests_total", s), "all": rate(requests, s)},
            "reqps",
        ),
        *sizes("request"),
    ]
    answers = [
        graph("Responses by code", {"{{rcode}}": rate(responses, s, "rcode")}, "reqps"),
        graph("Responses by plugin", {"{{plugin}}": rate(responses, s, "plugin")}, "reqps"),
        graph("Duration", quantiles("coredns_dns_request_duration_seconds", s), "s"),
        panel(
            "heatmap",
            "Duration",
            f"sum by (le) (increase(coredns_dns_request_duration_seconds_bucket{{{s}}}[$__rate_interval]))",
            "s",
        ),
        *sizes("response"),
        graph("Mean request size by protocol",
              {"{{proto}}": f'{rate("coredns_dns_request_size_bytes_sum", s, "proto")} / {rate("coredns_dns_request_size_bytes_count", s, "proto")}'},
              "bytes"),
    ]
    cache = [
        graph("Cache entries", {"{{type}}": f"sum by (type) (coredns_cache_entries{{{s}}})"}),
        graph(
            "Cache hits and misses",
            {"hits {{type}}": rate("coredns_cache_hits_total", s, "type"), "misses": rate("coredns_cache_misses_total", s)},
            "reqps",
        ),
        graph("Portolan: memory of cached answers", {"{{type}}": f"sum by (type) (portolan_cache_bytes{{{s}}})"}, "bytes"),
    ]
    forward = [
        graph(
            "Forwarded queries",
            {"{{to}} {{rcode}}": rate("coredns_proxy_request_duration_seconds_count", proxied, "to, rcode")},
            "reqps",
        ),
        graph(
            "Duration of forwarded queries",
            quantiles("coredns_proxy_request_duration_seconds", proxied, "to", (0.5, 0.99), " {{to}}"),
            "s",
        ),
        graph(
            "Failures of upstreams",
            {
                "{{to}} {{rcode}}": rate(
                    "coredns_proxy_request_duration_seconds_count", proxied + ', rcode=~"SERVFAIL|REFUSED"', "to, rcode"
                ),
                "{{to}} health check": rate("coredns_proxy_healthcheck_failures_total", proxied, "to"),
                "all upstreams down": rate("coredns_forward_healthcheck_broken_total", s),
                "max_concurrent": rate("coredns_forward_max_concurrent_rejects_total", s),
            },
            "reqps",
        ),
        graph(
            "Connections to upstreams",
            {
                "{{proto}} reused": rate("coredns_proxy_conn_cache_hits_total", proxied, "proto"),
                "{{proto}} new": rate("coredns_proxy_conn_cache_misses_total", proxied, "proto"),
            },
            "ops",
        ),
        graph(
            "Portolan: waiting queries",
            {
                "waiting": f"sum(portolan_dns_waiting_queries{{{s}}})",
                "rejected/s": rate("portolan_dns_waiting_queries_rejected_total", s),
            },
        ),
        graph("Portolan: sockets to upstreams", {"{{instance}}": f"portolan_forward_sockets{{{s}}}"}),
    ]
    process = [
        graph("CPU", {"{{instance}}": f"rate(process_cpu_seconds_total{{{s}}}[$__rate_interval])"}),
        graph("Memory", {"{{instance}}": f"process_resident_memory_bytes{{{s}}}"}, "bytes"),
        graph("File descriptors", {"{{instance}}": f"process_open_fds{{{s}}}"}),
        graph(
            "Portolan: TCP connections",
            {
                "{{instance}}": f"portolan_dns_tcp_connections{{{s}}}",
                "{{instance}} rejected/s": rate("portolan_dns_tcp_connections_rejected_total", s, "instance"),
            },
        ),
        graph(
            "Portolan: datagrams dropped by the kernel",
            {"{{address}}": rate("portolan_dns_udp_dropped_total", s, "address")},
            "ops",
            about="More queries arrive than the threads answer.",
        ),
        graph("Reloads of the Corefile that failed", {"{{instance}}": rate("coredns_reload_failed_total", s, "instance")}),
    ]
    return dashboard(
        "portolan-dns",
        "Portolan / DNS",
        "Cluster DNS by Portolan, with CoreDNS's metrics.",
        ["portolan", "dns", "coredns"],
        variables,
        [
            ("Overview", overview),
            ("Queries", queries),
            ("Responses", answers),
            ("Cache", cache),
            ("Forward", forward),
            ("Process", process),
            ("Cluster", own_state(vector)),
        ],
    )


INGRESS_VARIABLES = [
    variable(
        "controller_namespace", "Controller namespace", "label_values(nginx_ingress_controller_config_hash, controller_namespace)"
    ),
    variable(
        "controller_class",
        "Controller class",
        'label_values(nginx_ingress_controller_config_hash{controller_namespace=~"$controller_namespace"}, controller_class)',
    ),
    variable(
        "controller_pod",
        "Controller Pod",
        'label_values(nginx_ingress_controller_config_hash{controller_namespace=~"$controller_namespace", controller_class=~"$controller_class"}, controller_pod)',
    ),
]
CONTROLLER = 'controller_namespace=~"$controller_namespace", controller_class=~"$controller_class", controller_pod=~"$controller_pod"'
# Prometheus renames the label `namespace` of the metrics, because the scrape target has one of that name, too.
INGRESS = CONTROLLER + ', exported_namespace=~"$namespace", ingress=~"$ingress"'
INGRESS_VARIABLES += [
    variable("namespace", "Ingress namespace", f"label_values(nginx_ingress_controller_requests{{{CONTROLLER}}}, exported_namespace)"),
    variable(
        "ingress",
        "Ingress",
        f'label_values(nginx_ingress_controller_requests{{{CONTROLLER}, exported_namespace=~"$namespace"}}, ingress)',
    ),
]


def ingress():
    c, i = CONTROLLER, INGRESS
    prefix = "nginx_ingress_controller_"
    requests, duration = prefix + "requests", prefix + "request_duration_seconds"
    process = prefix + "nginx_process_"
    good = ', status!~"[4-5].*"'

    def vector(metric, rate=False):
        """The selected controllers' series of a metric that has no labels of the controller."""
        series = f"rate({metric}[$__rate_interval])" if rate else metric
        return f"({series} and on (job, instance) {prefix}build_info{{{c}}})"

    overview = [
        stat("Requests", rate(requests, i), "reqps"),
        stat("Connections", f'sum(avg_over_time({process}connections{{{c}, state="active"}}[$__rate_interval]))'),
        stat(
            "Success rate",
            f"{rate(requests, i + good)} / {rate(requests, i)}",
            "percentunit",
            **steps((None, "red"), (0.9, "orange"), (0.95, "green")),
            about="Responses other than 4xx and 5xx.",
        ),
        stat(
            "Configuration changes",
            f"sum(increase({prefix}success{{{c}}}[$__range]))",
            about="Changes that were applied. They take effect without a reload.",
        ),
        stat(
            "Configuration failed",
            f"count({prefix}config_last_reload_successful{{{c}}} == 0) or vector(0)",
            about="Instances to which changes cannot be applied, for example because RBAC forbids to list a kind.",
            **BAD_IF_ANY,
        ),
        stat("Duration, p99", quantiles(duration, i)["p99"], "s"),
    ]
    traffic = [
        graph("Requests by Ingress", {"{{exported_namespace}}/{{ingress}}": rate(requests, i, "exported_namespace, ingress")}, "reqps"),
        graph(
            "Success rate by Ingress",
            {
                "{{exported_namespace}}/{{ingress}}": f'{rate(requests, i + good, "exported_namespace, ingress")} / {rate(requests, i, "exported_namespace, ingress")}'
            },
            "percentunit",
            defaults={"max": 1},
        ),
        graph("Requests by status", {"{{status}}": rate(requests, i, "status")}, "reqps"),
        graph(
            "Canary traffic",
            {"{{exported_namespace}}/{{ingress}} to {{canary}}": rate(requests, i + ', canary!=""', "exported_namespace, ingress, canary")},
            "reqps",
        ),
        graph(
            "Network",
            {
                "requests": rate(prefix + "request_size_sum", i),
                "responses": rate(prefix + "response_size_sum", i),
            },
            "Bps",
        ),
        graph("Requests by Pod", {"{{controller_pod}}": rate(requests, i, "controller_pod")}, "reqps"),
    ]
    of_range = {
        legend: query.replace("$__rate_interval", "$__range")
        for legend, query in quantiles(duration, i + ', ingress!=""', "exported_namespace, ingress").items()
    }
    table = panel(
        "table",
        "Duration by Ingress",
        of_range,
        "s",
        width=12,
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": {
                        "exported_namespace": "Namespace",
                        "ingress": "Ingress",
                        "Value #A": "p50",
                        "Value #B": "p90",
                        "Value #C": "p99",
                    },
                },
            },
        ],
    )
    durations = [
        table,
        graph(
            "Duration by Ingress",
            quantiles(duration, i + ', ingress!=""', "exported_namespace, ingress", (0.8, 0.9, 0.99), " {{exported_namespace}}/{{ingress}}"),
            "s",
            width=12,
        ),
        panel("heatmap", "Duration", f'sum by (le) (increase({duration}_bucket{{{i}, ingress!=""}}[$__rate_interval]))', "s"),
        graph("Duration of endpoints", quantiles(prefix + "response_duration_seconds", i, quantiles=(0.5, 0.9, 0.99)), "s"),
        graph(
            "Connecting to endpoints and their first header, p99",
            {
                "connect": quantiles(prefix + "connect_duration_seconds", i)["p99"],
                "header": quantiles(prefix + "header_duration_seconds", i)["p99"],
            },
            "s",
        ),
    ]
    certificates = [
        panel(
            "table",
            "Certificates by expiry",
            f"sort(avg by (host) ({prefix}ssl_expire_time_seconds) - time())",
            "s",
            width=12,
            transformations=[
                {
                    "id": "organize",
                    "options": {"excludeByName": {"Time": True}, "renameByName": {"host": "Host", "Value": "Valid for"}},
                }
            ],
        ),
        panel(
            "table",
            "Ingresses without a Service or endpoints",
            f"max by (exported_namespace, ingress, type) ({prefix}orphan_ingress{{{c}}}) == 1",
            width=12,
            transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}],
        ),
    ]
    resources = [
        graph("CPU", {"{{controller_pod}}": f"avg by (controller_pod) (rate({process}cpu_seconds_total{{{c}}}[$__rate_interval]))"}),
        graph("Memory", {"{{controller_pod}}": f"avg by (controller_pod) ({process}resident_memory_bytes{{{c}}})"}, "bytes"),
        graph("Connections by state", {"{{state}}": f"sum by (state) ({process}connections{{{c}}})"}),
        graph(
            "Portolan: client connections closed at a limit",
            {"{{reason}}": f"sum by (reason) {vector('portolan_client_connections_closed_total', rate=True)}"},
            "ops",
        ),
        graph(
            "Portolan: requests at the limit of connections to endpoints",
            {"{{outcome}}": f"sum by (outcome) {vector('portolan_upstream_connection_limit_total', rate=True)}"},
            "reqps",
        ),
        graph(
            "Portolan: buffered bodies",
            {"{{instance}}": vector('portolan_buffered_bytes')},
            "bytes",
            about="Bytes that wait for slow clients and endpoints; 32 MiB at most.",
        ),
    ]
    cluster = [
        graph(
            "Portolan: age of the route table",
            {"{{controller_pod}}": f"time() - max by (controller_pod) ({prefix}config_last_reload_successful_timestamp_seconds{{{c}}})"},
            "s",
            about="Time since an Ingress or another object last changed the routes.",
        ),
        *own_state(vector),
    ]
    changes = {
        "name": "Configuration changes",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "rgba(255, 96, 96, 1)",
        "expr": f"sum by (controller_class) (changes({prefix}config_last_reload_successful_timestamp_seconds{{{c}}}[30s])) > 0",
        "titleFormat": "Configuration changed",
        "tagKeys": "controller_class",
        "step": "30s",
        "useValueForTime": False,
    }
    return dashboard(
        "portolan-ingress",
        "Portolan / Ingress",
        "The ingress proxy of Portolan, with ingress-nginx's metrics.",
        ["portolan", "ingress", "nginx"],
        INGRESS_VARIABLES,
        [
            ("Overview", overview),
            ("Requests", traffic),
            ("Durations", durations),
            ("Certificates and backends", certificates),
            ("Resources", resources),
            ("Cluster", cluster),
        ],
        [changes],
    )


def ingress_requests():
    i = INGRESS
    prefix = "nginx_ingress_controller_"
    duration, response = prefix + "request_duration_seconds", prefix + "response_duration_seconds"
    route, legend = "method, host, path", "{{method}} {{host}}{{path}}"
    bad = i + ', status=~"[4-5].*"'

    def at_most(le):
        return f'{i}, le="{le}"'

    def of_route(metric, q, unit, name):
        return graph(name, {legend: quantiles(metric, i, route, (q,))[f"p{round(q * 100)}"]}, unit, width=12)

    totals = [
        of_route(duration, q, "s", f"Duration of requests, p{round(q * 100)}") for q in (0.5, 0.95, 0.99)
    ] + [
        graph("Requests by path", {legend: rate(duration + "_count", i, route)}, "reqps", width=12),
        panel("heatmap", "Duration of requests", f"sum by (le) (increase({duration}_bucket{{{i}}}[$__rate_interval]))", "s", width=12),
        graph(
            "Shares of requests below 0.25 s and 1 s",
            {
                f"{le} s": f'{rate(duration + "_bucket", at_most(le))} / {rate(duration + "_count", i)}'
                for le in ("0.25", "1")
            },
            "percentunit",
            width=12,
        ),
    ]
    upstream = [
        of_route(response, q, "s", f"Duration of endpoints, p{round(q * 100)}") for q in (0.5, 0.95, 0.99)
    ] + [
        graph(
            "Time in endpoints per second",
            {legend: rate(response + "_sum", i, route)},
            "short",
            width=12,
            about="The mean number of requests that an endpoint is working on.",
        ),
    ]
    errors = [
        graph("Errors by path", {legend + " {{status}}": rate(duration + "_count", bad, route + ", status")}, "reqps", width=12),
        graph(
            "Share of errors by path",
            {legend: f'{rate(duration + "_count", bad, route)} / {rate(duration + "_count", i, route)}'},
            "percentunit",
            width=12,
        ),
    ]
    sizes = [
        graph(
            "Mean response size by path",
            {legend: f'{rate(prefix + "response_size_sum", i, route)} / {rate(prefix + "response_size_count", i, route)}'},
            "bytes",
            width=12,
        ),
        graph("Bytes sent by path", {legend: rate(prefix + "response_size_sum", i, route)}, "Bps", width=12),
        graph(
            "Response sizes",
            quantiles(prefix + "bytes_sent", i),
            "bytes",
            width=12,
            about="The buckets of response_size end at 100 bytes by default (--length-buckets); those of bytes_sent do not (--size-buckets).",
        ),
        graph(
            "Mean request size by path",
            {legend: f'{rate(prefix + "request_size_sum", i, route)} / {rate(prefix + "request_size_count", i, route)}'},
            "bytes",
            width=12,
        ),
    ]
    return dashboard(
        "portolan-ingress-requests",
        "Portolan / Ingress requests",
        "Durations, errors and sizes of the requests of one Ingress, by method, host and path.",
        ["portolan", "ingress", "nginx"],
        INGRESS_VARIABLES,
        [("Requests", totals), ("Endpoints", upstream), ("Errors", errors), ("Sizes", sizes)],
    )


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = []
    for name, made in [("dns", dns()), ("ingress", ingress()), ("ingress-requests", ingress_requests())]:
        path = FOLDER / f"{name}.json"
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(str(path))
    if stale:
        sys.exit(f"differs from charts/dashboards.py, which writes it: {', '.join(stale)}")


main()
