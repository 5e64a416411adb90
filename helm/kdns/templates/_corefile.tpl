{{/* The Corefile that `servers` and `extraConfig` are. */}}
{{- define "kdns.corefile" -}}
{{- range $name, $line := .Values.extraConfig }}
{{- $name }}{{ with ($line | default dict).parameters }} {{ . }}{{ end }}
{{ end }}
{{- range .Values.servers }}
{{- $port := .port }}
{{- range $index, $zone := .zones | default (list dict) }}
{{- if $index }} {{ end }}{{ default "" .scheme }}{{ default "." .zone }}{{ with $port }}:{{ . }}{{ end }}
{{- end }} {
{{- range .plugins }}
    {{ .name }}{{ if not (kindIs "invalid" .parameters) }} {{ .parameters }}{{ end }}
    {{- with .configBlock }} {
{{ trim . | indent 8 }}
    }
    {{- end }}
{{- end }}
}
{{ end }}
{{- end -}}

{{/* Whether what kdns serves can be seen in `servers`: "true", or nothing. */}}
{{- define "kdns.corefileSeen" -}}
{{- if and (not .Values.deployment.skipConfig) (not (regexMatch `(?m)^\s*import\b` (include "kdns.corefile" .))) -}}
true
{{- end -}}
{{- end -}}

{{/*
Ports that the plugin `plugin` serves a page on, as JSON: {"ports": [8080, …]}. `default` is where
it does without being told.
*/}}
{{- define "kdns.pagePorts" -}}
{{- $plugin := .plugin -}}
{{- $default := .default -}}
{{- $ports := list -}}
{{- range .root.Values.servers -}}
{{- range .plugins -}}
{{- if eq (trim (toString .name)) $plugin -}}
{{- $parameters := ternary "" (toString .parameters) (kindIs "invalid" .parameters) -}}
{{- $address := regexFind `^[^\s{]+` (trim $parameters) | trimAll `"` -}}
{{- $port := regexFind `:[0-9]+$` $address | trimPrefix ":" | default $default | int -}}
{{- $ports = append $ports $port -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "ports" ($ports | uniq) | toJson -}}
{{- end -}}

{{/*
The port of a probe of the plugin `plugin`; where `servers` is not all there is, its default.
Fails where nothing would answer the probe.
*/}}
{{- define "kdns.probePort" -}}
{{- $ports := (include "kdns.pagePorts" . | fromJson).ports -}}
{{- if $ports -}}
{{- first $ports -}}
{{- else if include "kdns.corefileSeen" .root -}}
{{- fail (printf "%s.enabled is true and no server of `servers` has the plugin %s, so the probe would fail for ever: add `- name: %s` to the plugins, or set %s.enabled to false" .probe .plugin .plugin .probe) -}}
{{- else -}}
{{- .default -}}
{{- end -}}
{{- end -}}

{{/* The port of metrics. */}}
{{- define "kdns.metricsPort" -}}
{{- $ports := (include "kdns.pagePorts" (dict "root" . "plugin" "prometheus" "default" 9153) | fromJson).ports -}}
{{- first (append $ports 9153) | int -}}
{{- end -}}

{{/*
Ports that queries come to, by number, as JSON: {"53": {"udp": true, "tcp": true, "service": 53,
"node": 30053, "host": 53}}. Without a scheme a zone is asked over UDP, and TCP with `use_tcp`.
*/}}
{{- define "kdns.dnsPorts" -}}
{{- $ports := dict -}}
{{- range .Values.servers -}}
{{- $server := . -}}
{{- $own := dict -}}
{{- range .zones | default (list dict) -}}
{{- $scheme := default "dns://" .scheme -}}
{{- $common := dict "tls://" 853 "quic://" 853 "https://" 443 "https3://" 443 "grpc://" 443 -}}
{{- $port := $server.port | default (get $common $scheme | default 53) | int -}}
{{- $key := toString $port -}}
{{- $entry := get $ports $key | default (dict "udp" false "tcp" false "service" (default $port $server.servicePort | int)) -}}
{{- if has $scheme (list "tls://" "https://" "grpc://") -}}
{{- $_ := set $entry "tcp" true -}}
{{- else -}}
{{- $_ := set $entry "udp" true -}}
{{- if .use_tcp -}}{{- $_ := set $entry "tcp" true -}}{{- end -}}
{{- end -}}
{{- with $server.nodePort -}}{{- $_ := set $entry "node" (int .) -}}{{- end -}}
{{- with $server.hostPort -}}{{- $_ := set $entry "host" (int .) -}}{{- end -}}
{{- $_ := set $ports $key $entry -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* `ports` of the Service: udp-53, tcp-53. */}}
{{- define "kdns.servicePorts" -}}
{{- range $port, $entry := include "kdns.dnsPorts" . | fromJson -}}
{{- range $protocol := list "udp" "tcp" -}}
{{- if get $entry $protocol }}
- name: {{ $protocol }}-{{ $port }}
  port: {{ $entry.service | int }}
  protocol: {{ upper $protocol }}
  targetPort: {{ $port | int }}
  {{- with $entry.node }}
  nodePort: {{ int . }}
  {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* `ports` of the container: those of queries, and of metrics. */}}
{{- define "kdns.containerPorts" -}}
{{- $ports := include "kdns.dnsPorts" . | fromJson -}}
{{- range $port, $entry := $ports -}}
{{- range $protocol := list "udp" "tcp" -}}
{{- if get $entry $protocol }}
- name: {{ $protocol }}-{{ $port }}
  containerPort: {{ $port | int }}
  protocol: {{ upper $protocol }}
  {{- with $entry.host }}
  hostPort: {{ int . }}
  {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $port := (include "kdns.pagePorts" (dict "root" . "plugin" "prometheus" "default" 9153) | fromJson).ports }}
- name: tcp-{{ $port | int }}
  containerPort: {{ $port | int }}
  protocol: TCP
{{- end -}}
{{- end -}}
