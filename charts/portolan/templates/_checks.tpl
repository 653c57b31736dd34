{{/* The value at a path, as JSON; empty if it is not set. Takes a list: values, path. */}}
{{- define "portolan.valueAt" -}}
{{- $value := index . 0 -}}
{{- range splitList "." (index . 1) -}}
{{- if kindIs "map" $value -}}{{- $value = get $value . -}}{{- else -}}{{- $value = "" -}}{{- end -}}
{{- end -}}
{{- if not (empty $value) -}}{{- toJson $value -}}{{- end -}}
{{- end -}}

{{/* The keys of a list in compat.yaml that are set: a line for each, with the reason. Takes a list: root, name of the list. */}}
{{- define "portolan.compat" -}}
{{- $root := index . 0 -}}
{{- $compat := $root.Files.Get "compat.yaml" | fromYaml -}}
{{- range get $compat (index . 1) -}}
{{- $value := include "portolan.valueAt" (list $root.Values .key) -}}
{{- if and $value (ne $value (toJson .neutral)) }}
{{ .key }}: {{ .reason }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Everything that is wrong with the values: a line for each mistake, with its key. */}}
{{- define "portolan.mistakes" -}}
{{- $v := .Values -}}
{{- $c := $v.controller -}}
{{- $d := $v.dns -}}
{{- include "portolan.compat" (list . "refused") -}}
{{- include "portolan.misplaced" . -}}
{{- include "portolan.images" . -}}
{{- if eq $v.mode "combined" }}
mode: combined is not available in this version; use split
{{- end }}
{{- if and $c.autoscaling.enabled $c.keda.enabled }}
controller.keda.enabled: excludes controller.autoscaling.enabled; keep one of the two
{{- end }}
{{- $flags := (.Files.Get "compat.yaml" | fromYaml).flags }}
{{- range $name, $value := $c.extraArgs }}
{{- if not (has $name $flags) }}
controller.extraArgs.{{ $name }}: `portolan ingress` has no flag --{{ $name }}
{{- end }}
{{- end }}
{{- if and $v.rbac.scope (not $c.scope.enabled) }}
rbac.scope: needs controller.scope.enabled=true, since a Role covers one namespace only
{{- end }}
{{- if and $d.nodeCache.enabled (not $d.enabled) }}
dns.nodeCache.enabled: needs dns.enabled=true (with dns.deployment.enabled=false and dns.nodeCache.upstreamSelector for the Pods of another DNS server)
{{- end }}
{{- if and $d.nodeCache.enabled (not (regexMatch "^(169\\.254\\.|fe80:|f[cd][0-9a-f]{2}:)" $d.nodeCache.localIP)) }}
dns.nodeCache.localIP: {{ $d.nodeCache.localIP }} is not a link-local address (169.254.0.0/16, fe80::/10, fc00::/7); kube-proxy would redirect queries to a ClusterIP before they reach the cache
{{- end }}
{{- if and $d.enabled $d.deployment.enabled }}
{{- include "portolan.dns.mistakes" . }}
{{- end }}
{{- end -}}

{{/* Keys at the root that belong below controller or dns. */}}
{{- define "portolan.misplaced" -}}
{{- $v := .Values -}}
{{- range $key := keys $v | sortAlpha -}}
{{- if not (has $key (list "controller" "dns" "serviceAccount" "rbac" "image" "tcp" "udp" "nameOverride" "fullnameOverride" "namespaceOverride" "mode" "global" "maxmindLicenseKey")) -}}
{{- $places := list -}}
{{- if hasKey $v.controller $key -}}{{- $places = append $places (printf "controller.%s" $key) -}}{{- end -}}
{{- if hasKey $v.dns $key -}}{{- $places = append $places (printf "dns.%s" $key) -}}{{- end -}}
{{- if $places }}
{{ $key }}: is not a key of the root; did you mean {{ join " or " $places }}?
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Images of nginx and CoreDNS, which cannot run the program of this chart. */}}
{{- define "portolan.images" -}}
{{- $image := .Values.controller.image -}}
{{- $name := default $image.image $image.repository -}}
{{- $key := ternary "repository" "image" (not (empty $image.repository)) -}}
{{- $pins := list -}}
{{- range list "tag" "digest" "digestChroot" -}}
{{- if get $image . -}}{{- $pins = append $pins (printf "controller.image.%s: %v" . (get $image .)) -}}{{- end -}}
{{- end -}}
{{- if and $name (contains "nginx" $name) }}
controller.image.{{ $key }}: {{ $name }} is the image of ingress-nginx; delete the line{{ with $pins }}, and with it {{ join ", " . }}{{ end }}. `image` at the root names the image of Portolan
{{- else if and (not $name) $pins }}
{{ join ", " $pins }}: pins an image of ingress-nginx; delete the line. `image` at the root names the image of Portolan
{{- end -}}
{{- $image := .Values.dns.image -}}
{{- if contains "coredns" $image.repository }}
dns.image.repository: {{ $image.repository }} is the image of CoreDNS; delete the line{{ with $image.tag }}, and with it dns.image.tag: {{ . }}{{ end }}. `image` at the root names the image of Portolan
{{- else if and $image.tag (not $image.repository) }}
dns.image.tag: {{ $image.tag }} pins an image of CoreDNS; delete the line. `image` at the root names the image of Portolan
{{- end -}}
{{- end -}}

{{- define "portolan.dns.mistakes" -}}
{{- $d := .Values.dns -}}
{{- if and (eq $d.deployment.dnsPolicy "None") (not $d.deployment.dnsConfig) }}
dns.deployment.dnsConfig: is required with dns.deployment.dnsPolicy None
{{- end }}
{{- if include "portolan.dns.makesConfigMap" . }}
{{- $known := (.Files.Get "compat.yaml" | fromYaml).plugins }}
{{- $used := list }}
{{- range $block, $server := $d.servers }}
{{- range $index, $plugin := $server.plugins }}
{{- $used = append $used $plugin.name }}
{{- if not (has $plugin.name (append $known "import")) }}
dns.servers[{{ $block }}].plugins[{{ $index }}].name: this version has no plugin {{ $plugin.name }}; it has {{ join ", " $known }}
{{- end }}
{{- end }}
{{- range $index, $zone := $server.zones }}
{{- if not (has (default "dns://" .scheme) (list "dns://")) }}
dns.servers[{{ $block }}].zones[{{ $index }}].scheme: this version does not serve {{ .scheme }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $d.livenessProbe.enabled (not (has "health" $used)) }}
dns.livenessProbe.enabled: needs the plugin health in a server block
{{- else if and $d.startupProbe.enabled (not (has "health" $used)) }}
dns.startupProbe.enabled: needs the plugin health in a server block
{{- end }}
{{- if and $d.readinessProbe.enabled (not (has "ready" $used)) }}
dns.readinessProbe.enabled: needs the plugin ready in a server block
{{- end }}
{{- end }}
{{- if and $d.prometheus.monitor.enabled (not $d.prometheus.service.enabled) }}
dns.prometheus.monitor.enabled: needs dns.prometheus.service.enabled, the Service that it selects; dns.prometheus.podMonitor needs none
{{- end }}
{{- if $d.service.create }}
{{- $existing := lookup "v1" "Service" (include "portolan.dns.namespace" .) (include "portolan.dns.serviceName" .) | default dict }}
{{- $address := dig "spec" "clusterIP" "" $existing }}
{{- if and $address $d.service.clusterIP (ne $address $d.service.clusterIP) }}
dns.service.clusterIP: {{ $d.service.clusterIP }} is not the address of the existing Service {{ include "portolan.dns.namespace" . }}/{{ include "portolan.dns.serviceName" . }}, {{ $address }}, which cannot be changed; delete the line to keep that address
{{- end }}
{{- end }}
{{- end -}}
