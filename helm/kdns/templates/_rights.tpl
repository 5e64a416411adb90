{{/*
What the Corefile reads of the API server as this service account, as JSON: {"resources": [...]}.
All there is where the Corefile is not to be seen. A source of its own, with credentials of its own
or none, needs no rights here.
*/}}
{{- define "kdns.resources" -}}
{{- $found := dict -}}
{{- if include "kdns.corefileSeen" . -}}
{{- range .Values.servers -}}
{{- range .plugins -}}
{{- if eq (trim (toString .name)) "kubernetes" -}}
{{- $text := printf "%v\n%s" (default "" .parameters) (default "" .configBlock) -}}
{{- if not (regexMatch `(?m)(^|\{)\s*"?(manifests|kubeconfig|endpoint)"?\s` $text) -}}
{{- $_ := set $found "namespaces" true -}}
{{- $_ := set $found "services" true -}}
{{- if not (regexMatch `(?m)(^|\{)\s*"?noendpoints\b` $text) -}}{{- $_ := set $found "endpointslices" true -}}{{- end -}}
{{- if regexMatch `(?m)(^|\{)\s*"?pods"?\s+"?(verified|\{)` $text -}}{{- $_ := set $found "pods" true -}}{{- end -}}
{{- if regexMatch `(?m)(^|\{)\s*"?multicluster\b` $text -}}{{- $_ := set $found "serviceimports" true -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- range list "namespaces" "services" "endpointslices" "pods" "serviceimports" -}}{{- $_ := set $found . true -}}{{- end -}}
{{- end -}}
{{- if and $found (dig "multiclusterEnable" false .Values.rbac) -}}{{- $_ := set $found "serviceimports" true -}}{{- end -}}
{{- dict "resources" (keys $found | sortAlpha) | toJson -}}
{{- end -}}

{{/* Whether pods get the service account's token: "true" or "false". */}}
{{- define "kdns.token" -}}
{{- if kindIs "bool" .Values.automountServiceAccountToken -}}
{{- .Values.automountServiceAccountToken -}}
{{- else -}}
{{- gt (len (include "kdns.resources" . | fromJson).resources) 0 -}}
{{- end -}}
{{- end -}}
