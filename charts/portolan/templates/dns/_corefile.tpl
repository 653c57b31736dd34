{{/* The Corefile of `dns.servers`: the text that the coredns chart makes of the same values. */}}
{{- define "portolan.dns.corefile" -}}
{{- range $name, $conf := .Values.dns.extraConfig }}
{{- $name }}{{ with $conf.parameters }} {{ . }}{{ end }}
{{ end }}
{{- range .Values.dns.servers }}
{{- include "portolan.dns.zones" . }} {
{{- if and $.Values.dns.nodeHosts (include "portolan.dns.hasPlugin" (list . "kubernetes")) }}
    hosts {
        nodes
        ttl 60
        fallthrough
    }
{{- end }}
{{- range .plugins }}
    {{ .name }}{{ with .parameters }} {{ . }}{{ end }}
    {{- with .configBlock }} {
{{ trimSuffix "\n" . | indent 8 }}
    }
    {{- end }}
{{- end }}
}
{{ end }}
{{- end -}}

{{/* Whether a server block has a plugin. Takes a list: server block, name. */}}
{{- define "portolan.dns.hasPlugin" -}}
{{- $name := index . 1 -}}
{{- range (index . 0).plugins }}{{ if eq .name $name }}true{{ end }}{{ end -}}
{{- end -}}

{{/* The keys of a server block. */}}
{{- define "portolan.dns.zones" -}}
{{- $keys := list -}}
{{- range .zones -}}
{{- $keys = append $keys (printf "%s%s" (default "" .scheme) (default "." .zone)) -}}
{{- end -}}
{{- default (list ".") $keys | join " " -}}
{{- with .port }}:{{ . }}{{ end -}}
{{- end -}}

{{/* The ports of the server blocks, as a map of the port to its settings: {"53": {"tcp": true, "udp": true, "service": 53}}. */}}
{{- define "portolan.dns.portMap" -}}
{{- $ports := dict -}}
{{- range .Values.dns.servers -}}
{{- $port := default 53 .port | toString -}}
{{- $settings := get $ports $port | default (dict "tcp" false "udp" false "service" (default $port .servicePort)) -}}
{{- range .zones -}}
{{- if has (default "dns://" .scheme) (list "dns://") -}}
{{- $_ := set $settings "udp" true -}}
{{- if .use_tcp -}}{{- $_ := set $settings "tcp" true -}}{{- end -}}
{{- else -}}
{{- $_ := set $settings "tcp" true -}}
{{- end -}}
{{- end -}}
{{- if not (or $settings.tcp $settings.udp) -}}{{- $_ := set $settings "udp" true -}}{{- end -}}
{{- with .nodePort -}}{{- $_ := set $settings "nodePort" . -}}{{- end -}}
{{- with .hostPort -}}{{- $_ := set $settings "hostPort" . -}}{{- end -}}
{{- $_ := set $ports $port $settings -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}

{{/* The ports of the Service. Takes a list: root, existing Service. Ports of an existing Service keep their names: a patch of Helm merges
ports by their number, and would lose one of the two with number 53 if their names changed. Its port for metrics stays, too. */}}
{{- define "portolan.dns.servicePorts" -}}
{{- $root := index . 0 -}}
{{- $existing := dig "spec" "ports" list (index . 1) -}}
{{- range $port, $settings := include "portolan.dns.portMap" $root | fromYaml }}
{{- range $protocol := list "udp" "tcp" }}
{{- if get $settings $protocol }}
{{- $name := printf "%s-%s" $protocol $port }}
{{- $nodePort := $settings.nodePort }}
{{- range $existing }}
{{- if and (eq (toString .port) (toString $settings.service)) (eq .protocol (upper $protocol)) }}
{{- $name = default $name .name }}
{{- $nodePort = default .nodePort $nodePort }}
{{- end }}
{{- end }}
- name: {{ $name }}
  port: {{ $settings.service }}
  protocol: {{ upper $protocol }}
  targetPort: {{ $port }}
  {{- if and $nodePort (ne $root.Values.dns.serviceType "ClusterIP") }}
  nodePort: {{ $nodePort }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $metrics := include "portolan.dns.pluginPort" (list $root "prometheus" "") }}
{{- range $existing }}
{{- if and $metrics (eq (toString .port) $metrics) (eq .protocol "TCP") }}
- name: {{ .name }}
  port: {{ .port }}
  protocol: TCP
  targetPort: {{ $metrics }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The ports of the node that lead to server blocks. */}}
{{- define "portolan.dns.hostPorts" -}}
{{- range .Values.dns.servers -}}{{- with .hostPort }}{{ . }} {{ end -}}{{- end -}}
{{- end -}}

{{/* The name of the port of the plugin prometheus. In combined mode, the controller has its own `metrics`. */}}
{{- define "portolan.dns.metricsPortName" -}}
{{- ternary "dns-metrics" "metrics" (eq .Values.mode "combined") -}}
{{- end -}}

{{- define "portolan.dns.containerPorts" -}}
{{- $map := include "portolan.dns.portMap" . | fromYaml -}}
{{- range $port, $settings := $map }}
{{- range $protocol := list "udp" "tcp" }}
{{- if get $settings $protocol }}
- name: {{ $protocol }}-{{ $port }}
  containerPort: {{ $port }}
  protocol: {{ upper $protocol }}
  {{- with $settings.hostPort }}
  hostPort: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with include "portolan.dns.pluginPort" (list $ "prometheus" "") }}
{{- if not (hasKey $map .) }}
- name: {{ include "portolan.dns.metricsPortName" $ }}
  containerPort: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}
{{- end -}}

{{/* The port in the parameters of the first plugin of a name, else a default; empty if no server block has the plugin. */}}
{{- define "portolan.dns.pluginPort" -}}
{{- $name := index . 1 -}}
{{- $default := index . 2 -}}
{{- $found := "" -}}
{{- range (index . 0).Values.dns.servers -}}
{{- range .plugins -}}
{{- if and (eq .name $name) (not $found) -}}
{{- $address := default "" .parameters | toString | splitList " " | first -}}
{{- $found = $address | splitList ":" | last -}}
{{- if not (regexMatch "^[0-9]+$" $found) -}}{{- $found = default (dict "health" "8080" "ready" "8181" "prometheus" "9153" | dig $name "") $default -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* The ConfigMap with the Corefile. */}}
{{- define "portolan.dns.configMapName" -}}
{{- default (include "portolan.dns.fullname" .) .Values.dns.existingConfigMap -}}
{{- end -}}

{{/* Whether the chart makes that ConfigMap. */}}
{{- define "portolan.dns.makesConfigMap" -}}
{{- if not (or .Values.dns.deployment.skipConfig .Values.dns.existingConfigMap) }}true{{ end -}}
{{- end -}}

{{/* Whether the Corefile matches a regular expression. One that the chart does not make is looked up. */}}
{{- define "portolan.dns.corefileMatches" -}}
{{- $root := index . 0 -}}
{{- $text := include "portolan.dns.corefile" $root -}}
{{- if not (include "portolan.dns.makesConfigMap" $root) -}}
{{- $existing := lookup "v1" "ConfigMap" (include "portolan.dns.namespace" $root) (include "portolan.dns.configMapName" $root) | default dict -}}
{{- $text = dig "data" "Corefile" "" $existing -}}
{{- end -}}
{{- if regexMatch (index . 1) $text }}true{{ end -}}
{{- end -}}

{{/* Whether a server block listens below port 1024. */}}
{{- define "portolan.dns.lowPorts" -}}
{{- range $port, $settings := include "portolan.dns.portMap" . | fromYaml }}{{ if lt (int $port) 1024 }}true{{ end }}{{ end -}}
{{- end -}}
