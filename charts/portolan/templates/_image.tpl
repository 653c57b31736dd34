{{/* Images. A registry replaces the registry in a repository: the part before the first slash, if it has a dot, a colon, or is localhost. */}}

{{- define "portolan.inRegistry" -}}
{{- $registry := index . 0 -}}
{{- $repository := index . 1 -}}
{{- if $registry -}}
{{- $parts := splitList "/" $repository -}}
{{- $host := first $parts -}}
{{- if and (gt (len $parts) 1) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) -}}
{{- $repository = rest $parts | join "/" -}}
{{- end -}}
{{- printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- else -}}
{{- $repository -}}
{{- end -}}
{{- end -}}

{{/* Takes a list: repository, tag, digest. */}}
{{- define "portolan.reference" -}}
{{- index . 0 -}}
{{- with index . 1 }}:{{ . }}{{ end -}}
{{- with index . 2 }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "portolan.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default .Values.global.image.registry $image.registry -}}
{{- include "portolan.reference" (list (include "portolan.inRegistry" (list $registry $image.repository)) (default .Chart.AppVersion $image.tag | toString) $image.digest) -}}
{{- end -}}

{{- define "portolan.controller.image" -}}
{{- $image := .Values.controller.image -}}
{{- $name := default $image.image $image.repository -}}
{{- if $name -}}
{{- $registry := default .Values.global.image.registry $image.registry -}}
{{- if $image.repository -}}{{- $registry = "" -}}{{- end -}}
{{- include "portolan.reference" (list (include "portolan.inRegistry" (list $registry $name)) (default .Chart.AppVersion $image.tag | toString) $image.digest) -}}
{{- else if $image.registry -}}
{{- $ours := .Values.image -}}
{{- include "portolan.reference" (list (include "portolan.inRegistry" (list $image.registry $ours.repository)) (default .Chart.AppVersion $ours.tag | toString) $ours.digest) -}}
{{- else -}}
{{- include "portolan.image" . -}}
{{- end -}}
{{- end -}}

{{- define "portolan.dns.image" -}}
{{- $image := .Values.dns.image -}}
{{- if include "portolan.isCombined" . -}}
{{- include "portolan.controller.image" . -}}
{{- else if $image.repository -}}
{{- include "portolan.reference" (list $image.repository (default .Chart.AppVersion $image.tag | toString) "") -}}
{{- else -}}
{{- include "portolan.image" . -}}
{{- end -}}
{{- end -}}

{{- define "portolan.defaultBackend.image" -}}
{{- $image := .Values.defaultBackend.image -}}
{{- $name := $image.repository -}}
{{- if not $name -}}
{{- $registry := default (default "registry.k8s.io" .Values.global.image.registry) $image.registry -}}
{{- $name = printf "%s/%s" $registry $image.image -}}
{{- end -}}
{{- include "portolan.reference" (list $name ($image.tag | toString) $image.digest) -}}
{{- end -}}
