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

{{/* The keys that need another one which is not set, or exclude one which is. */}}
{{- define "portolan.rules" -}}
{{- range (.Files.Get "compat.yaml" | fromYaml).rules -}}
{{- $set := include "portolan.valueAt" (list $.Values .key) -}}
{{- $other := include "portolan.valueAt" (list $.Values (default .excludes .needs)) -}}
{{- if and $set (ternary (not $other) (not (not $other)) (hasKey . "needs")) }}
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
{{- if include "portolan.isCombined" . }}
{{- include "portolan.combinedMistakes" . }}
{{- end }}
{{- if eq $v.secrets.mode "namespaces" }}
secrets.mode: this version cannot read the Secrets of some namespaces only; use `tls`, or controller.scope.enabled and rbac.scope for one namespace
{{- end }}
{{- include "portolan.rules" . }}
{{- include "portolan.streamMistakes" . }}
{{- include "portolan.selectorMistakes" . }}
{{- include "portolan.classMistakes" . }}
{{- if and $c.enabled $c.service.adopt }}
{{- include "portolan.controller.adoptionMistakes" . }}
{{- end }}
{{- $flags := (.Files.Get "compat.yaml" | fromYaml).flags }}
{{- range $name, $value := $c.extraArgs }}
{{- if not (has $name $flags) }}
controller.extraArgs.{{ $name }}: `portolan ingress` has no flag --{{ $name }}
{{- end }}
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

{{/* TCP and UDP services that could not be read, or whose ports the controller has itself. */}}
{{- define "portolan.streamMistakes" -}}
{{- $c := .Values.controller -}}
{{- $more := $c.extraArgs -}}
{{- range $protocol, $services := dict "tcp" .Values.tcp "udp" .Values.udp }}
{{- $namespace := default (include "portolan.namespace" $) (get (get $c $protocol) "configMapNamespace") }}
{{- if and $services $c.enabled $c.scope.enabled (ne $namespace (include "portolan.configMapNamespace" $)) }}
controller.{{ $protocol }}.configMapNamespace: with controller.scope.enabled the ConfigMap must be in the namespace {{ include "portolan.configMapNamespace" $ }} of the global settings, since the controller reads no other
{{- end }}
{{- range $own, $flag := dict "containerPort.http" "http-port" "containerPort.https" "https-port" "metrics.port" "healthz-port" }}
{{- $port := default (index $c (index (splitList "." $own) 0) (index (splitList "." $own) 1)) (get $more $flag) | toString }}
{{- if and $c.enabled (hasKey $services $port) }}
{{ $protocol }}.{{ $port }}: the controller listens on this port itself (controller.{{ $own }})
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What `mode: combined` cannot do: one Pod has both services, and its settings are those of the controller. */}}
{{- define "portolan.combinedMistakes" -}}
{{- $c := .Values.controller -}}
{{- $d := .Values.dns -}}
{{- if not (and $c.enabled $d.enabled $d.deployment.enabled) }}
mode: combined needs controller.enabled, dns.enabled and dns.deployment.enabled
{{- end }}
{{- if ne (include "portolan.namespace" .) (include "portolan.dns.namespace" .) }}
mode: combined has one Pod, in one namespace: namespaceOverride ({{ include "portolan.namespace" . }}) and dns.namespaceOverride ({{ include "portolan.dns.namespace" . }}) must be the same
{{- end }}
{{- if $c.scope.enabled }}
controller.scope.enabled: DNS needs all namespaces, and mode combined has one watch cache; use mode split
{{- end }}
{{- range $key, $instead := dict "kind" "kind: DaemonSet" "hpa.enabled" "autoscaling.enabled" "autoscaler.enabled" "autoscaling.enabled" "hostNetwork" "hostNetwork" "image.repository" "image" "deployment.name" "name" "deployment.selector" "podLabels" }}
{{- $value := include "portolan.valueAt" (list $d $key) }}
{{- if and $value (ne $value (toJson "Deployment")) }}
dns.{{ $key }}: in mode combined the Pods are those of the controller; use controller.{{ $instead }}
{{- end }}
{{- end }}
{{- end -}}

{{/* IngressClasses of this release whose controller the values would change, which Kubernetes does not allow. */}}
{{- define "portolan.classMistakes" -}}
{{- $class := .Values.controller.ingressClassResource -}}
{{- if and .Values.controller.enabled $class.enabled }}
{{- range $name := prepend $class.aliases $class.name }}
{{- $existing := lookup "networking.k8s.io/v1" "IngressClass" "" $name }}
{{- if and $existing (include "portolan.ours" (list $ $existing)) (ne $existing.spec.controller $class.controllerValue) }}
controller.ingressClassResource.controllerValue: changes the controller of IngressClass {{ $name }} from {{ $existing.spec.controller }} to {{ $class.controllerValue }}, which Kubernetes does not allow. Delete the IngressClass first, or choose another controller.ingressClassResource.name
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Selectors of existing workloads that the values would change, which Kubernetes does not allow. */}}
{{- define "portolan.selectorMistakes" -}}
{{- $v := .Values -}}
{{- if $v.controller.enabled }}
{{- $selector := include "portolan.controller.selectorLabels" . | fromYaml }}
{{- include "portolan.selectorMistake" (list . $v.controller.kind (include "portolan.namespace" .) (include "portolan.controller.fullname" .) $selector "nameOverride") }}
{{- end }}
{{- if and $v.dns.enabled $v.dns.deployment.enabled (not (include "portolan.isCombined" .)) }}
{{- $selector := dig "matchLabels" (include "portolan.dns.selectorLabels" . | fromYaml) $v.dns.deployment.selector }}
{{- include "portolan.selectorMistake" (list . $v.dns.kind (include "portolan.dns.namespace" .) (include "portolan.dns.workloadName" .) $selector "dns.nameOverride, dns.isClusterService, dns.k8sAppLabelOverride or dns.deployment.selector") }}
{{- end }}
{{- end -}}

{{/* Takes a list: root, kind, namespace, name, labels, keys that set the labels. A workload of another release is Helm's to refuse. */}}
{{- define "portolan.selectorMistake" -}}
{{- $root := index . 0 -}}
{{- $existing := lookup "apps/v1" (index . 1) (index . 2) (index . 3) -}}
{{- if and $existing (include "portolan.ours" (list $root $existing)) -}}
{{- $labels := dig "spec" "selector" "matchLabels" dict $existing -}}
{{- if ne (toJson $labels) (toJson (index . 4)) }}
{{ index . 5 }}: changes the selector of {{ index . 1 }} {{ index . 2 }}/{{ index . 3 }} from {{ toJson $labels }} to {{ index . 4 | toJson }}, which Kubernetes does not allow. Undo the change, or delete the {{ index . 1 }} first (its Pods end, and nothing is served until the new ones are ready), or install a second release
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Keys at the root that belong below controller or dns. */}}
{{- define "portolan.misplaced" -}}
{{- $v := .Values -}}
{{- range $key := keys $v | sortAlpha -}}
{{- if not (has $key (list "controller" "dns" "serviceAccount" "rbac" "image" "tcp" "udp" "nameOverride" "fullnameOverride" "namespaceOverride" "mode" "global" "maxmindLicenseKey" "revisionHistoryLimit")) -}}
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
{{- if and $d.nodeHosts (not (include "portolan.dns.makesConfigMap" .)) }}
dns.nodeHosts: adds lines to the Corefile of the chart, but the Corefile is another one; write the line nodes in its block of the plugin hosts
{{- end }}
{{- if and (eq $d.deployment.dnsPolicy "None") (not $d.deployment.dnsConfig) }}
dns.deployment.dnsConfig: is required with dns.deployment.dnsPolicy None
{{- end }}
{{- if include "portolan.dns.makesConfigMap" . }}
{{- $known := (.Files.Get "compat.yaml" | fromYaml).plugins }}
{{- $used := list }}
{{- range $block, $server := $d.servers }}
{{- range $index, $plugin := $server.plugins }}
{{- $used = append $used $plugin.name }}
{{- if and $d.nodeHosts (eq $plugin.name "hosts") (include "portolan.dns.hasPlugin" (list $server "kubernetes")) }}
dns.nodeHosts: adds the plugin hosts, which dns.servers[{{ $block }}].plugins[{{ $index }}] has already; write the line nodes in its configBlock instead
{{- end }}
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
{{- if include "portolan.isCombined" . }}
{{- else if and $d.livenessProbe.enabled (not (has "health" $used)) }}
dns.livenessProbe.enabled: needs the plugin health in a server block
{{- else if and $d.startupProbe.enabled (not (has "health" $used)) }}
dns.startupProbe.enabled: needs the plugin health in a server block
{{- end }}
{{- if and $d.readinessProbe.enabled (not (has "ready" $used)) (not (include "portolan.isCombined" .)) }}
dns.readinessProbe.enabled: needs the plugin ready in a server block
{{- end }}
{{- end }}
{{- if $d.service.create }}
{{- $existing := lookup "v1" "Service" (include "portolan.dns.namespace" .) (include "portolan.dns.serviceName" .) | default dict }}
{{- $address := dig "spec" "clusterIP" "" $existing }}
{{- if and $address $d.service.clusterIP (ne $address $d.service.clusterIP) }}
dns.service.clusterIP: {{ $d.service.clusterIP }} is not the address of the existing Service {{ include "portolan.dns.namespace" . }}/{{ include "portolan.dns.serviceName" . }}, {{ $address }}, which cannot be changed; delete the line to keep that address
{{- end }}
{{- $before := dig "spec" "selector" dict $existing }}
{{- $after := include "portolan.dns.serviceSelector" (list . $existing) | fromYaml }}
{{- if and $before (not $d.service.selector) (ne (toJson $before) (toJson $after)) }}
{{- $kind := ternary .Values.controller.kind $d.kind (not (empty (include "portolan.isCombined" .))) }}
{{- $workload := printf "%s/%s" (include "portolan.dns.namespace" .) (include "portolan.dns.workloadName" .) }}
{{- $status := dig "status" dict (lookup "apps/v1" $kind (include "portolan.dns.namespace" .) (include "portolan.dns.workloadName" .)) }}
{{- if not (or $status.readyReplicas $status.numberReady) }}
dns.service.create: the existing Service {{ include "portolan.dns.namespace" . }}/{{ include "portolan.dns.serviceName" . }} selects {{ toJson $before }}. It would select the Pods of {{ $kind }} {{ $workload }} instead, and none of them is ready, so that every lookup would fail. Install with dns.service.create=false first; set it to true in an upgrade once Pods are ready. `portolan migrate dns` does both, compares the answers and rolls back
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
