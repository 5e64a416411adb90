{{/*
Labels of a component's pods, by which they are selected: `root`, and `suffix` of the component's
name and of its k8s-app.
*/}}
{{- define "kdns.selectorLabels" -}}
{{- $root := .root -}}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/name: {{ printf "%s%s" (include "kdns.name" $root) .suffix }}
{{- if eq .suffix "-node-local" }}
k8s-app: node-local-dns
{{- else if $root.Values.isClusterService }}
k8s-app: {{ printf "%s%s" (include "kdns.app" $root) .suffix }}
{{- end }}
{{- end -}}

{{/* Labels of all else, customLabels over them: as above. */}}
{{- define "kdns.labels" -}}
{{- $root := .root -}}
{{- $labels := fromYaml (include "kdns.selectorLabels" .) -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_")) -}}
{{- if $root.Values.isClusterService -}}
{{- $_ := set $labels "kubernetes.io/cluster-service" "true" -}}
{{- $_ := set $labels "kubernetes.io/name" "kdns" -}}
{{- end -}}
{{- toYaml (merge (deepCopy (.more | default dict)) (deepCopy ($root.Values.customLabels | default dict)) $labels) -}}
{{- end -}}

{{/* Labels of pods: as above, with `more`; those by which they are selected win. */}}
{{- define "kdns.podLabels" -}}
{{- $selected := fromYaml (include "kdns.selectorLabels" .) -}}
{{- toYaml (merge $selected (deepCopy (.more | default dict)) (deepCopy (.root.Values.customLabels | default dict))) -}}
{{- end -}}

{{/* `annotations:` with customAnnotations and `more`, which wins; nothing where there are none. */}}
{{- define "kdns.annotations" -}}
{{- with merge (deepCopy (.more | default dict)) (deepCopy (.root.Values.customAnnotations | default dict)) -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* `metadata` but for the name: as above, with `moreLabels` and `moreAnnotations`. */}}
{{- define "kdns.metadata" -}}
labels:
  {{- include "kdns.labels" (dict "root" .root "suffix" .suffix "more" .moreLabels) | nindent 2 }}
{{- with include "kdns.annotations" (dict "root" .root "more" .moreAnnotations) }}
{{ . }}
{{- end }}
{{- end -}}

{{/* A probe of `path` and `port`, by `values`; `host` where it is not the pod's own. */}}
{{- define "kdns.probe" -}}
httpGet:
  {{- with .host }}
  host: {{ . | quote }}
  {{- end }}
  path: {{ .path }}
  port: {{ .port }}
  scheme: HTTP
{{- range $key := list "initialDelaySeconds" "periodSeconds" "timeoutSeconds" "failureThreshold" "successThreshold" }}
{{- if hasKey $.values $key }}
{{ $key }}: {{ get $.values $key }}
{{- end }}
{{- end }}
{{- end -}}
