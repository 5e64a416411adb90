{{/* The clusterIP that a node's cache takes over, "" for mode ipvs. Fails where it is not known. */}}
{{- define "kdns.nodeLocalServer" -}}
{{- if eq .Values.nodeLocal.mode "iptables" -}}
{{- $there := lookup "v1" "Service" .Release.Namespace .Values.nodeLocal.dnsService -}}
{{- $address := .Values.nodeLocal.dnsServer | default (get .Values.service "clusterIP") | default (dig "spec" "clusterIP" "" $there) -}}
{{- if not $address -}}
{{- fail (printf "nodeLocal.mode iptables takes over the clusterIP of the Service %s, which is not known here: write --set nodeLocal.dnsServer=$(kubectl -n %s get service %s -o jsonpath={.spec.clusterIP})" .Values.nodeLocal.dnsService .Release.Namespace .Values.nodeLocal.dnsService) -}}
{{- end -}}
{{- $address -}}
{{- end -}}
{{- end -}}

{{/* All addresses that the cache serves on, with commas between. */}}
{{- define "kdns.nodeLocalAddresses" -}}
{{- list .Values.nodeLocal.localIP (include "kdns.nodeLocalServer" .) | compact | join "," -}}
{{- end -}}

{{/* The Corefile template of the stock manifest, whose variables are filled in on the node. */}}
{{- define "kdns.nodeLocalCorefile" -}}
{{- $values := .Values.nodeLocal -}}
{{- $bind := printf "bind %s" (include "kdns.nodeLocalAddresses" . | replace "," " ") -}}
{{- $health := first (splitList "," $values.localIP) -}}
{{ $values.domain }}:53 {
    errors
    cache {
        success 9984 30
        denial 9984 5
    }
    reload
    loop
    {{ $bind }}
    forward . __PILLAR__CLUSTER__DNS__ {
        force_tcp
    }
    prometheus :{{ $values.metricsPort }}
    health {{ ternary (printf "[%s]" $health) $health (contains ":" $health) }}:{{ $values.healthPort }}
}
{{- range list "in-addr.arpa" "ip6.arpa" }}
{{ . }}:53 {
    errors
    cache 30
    reload
    loop
    {{ $bind }}
    forward . __PILLAR__CLUSTER__DNS__ {
        force_tcp
    }
    prometheus :{{ $values.metricsPort }}
}
{{- end }}
.:53 {
    errors
    cache 30
    reload
    loop
    {{ $bind }}
    forward . {{ $values.upstreamServers }}
    prometheus :{{ $values.metricsPort }}
}
{{- end -}}
