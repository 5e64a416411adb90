{{/* Whether values ask for a Service of this release's own: "true", or nothing. */}}
{{- define "kdns.asksForService" -}}
{{- $asks := or (not .Values.isClusterService) (ne (include "kdns.app" .) "kube-dns") (ne (default "ClusterIP" .Values.serviceType) "ClusterIP") -}}
{{- range $key := list "name" "selector" "clusterIP" "clusterIPs" "externalIPs" "externalTrafficPolicy" "loadBalancerIP" "loadBalancerClass" "ipFamilyPolicy" "trafficDistribution" -}}
{{- if get $.Values.service $key -}}{{- $asks = true -}}{{- end -}}
{{- end -}}
{{- range .Values.servers -}}
{{- if or .nodePort .servicePort -}}{{- $asks = true -}}{{- end -}}
{{- end -}}
{{- if $asks }}true{{ end -}}
{{- end -}}

{{/* Whether an object (`object`, {} where there is none) is there and another's: "true", or nothing. */}}
{{- define "kdns.foreign" -}}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" .object -}}
{{- $namespace := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" .object -}}
{{- if and .object (or (ne $owner .root.Release.Name) (ne $namespace .root.Release.Namespace)) -}}true{{- end -}}
{{- end -}}

{{/* Whether there is to be a Service of this release: "true", or nothing. */}}
{{- define "kdns.makesService" -}}
{{- if kindIs "bool" .Values.service.create -}}
{{- if .Values.service.create }}true{{ end -}}
{{- else if include "kdns.asksForService" . -}}
{{- $there := lookup "v1" "Service" .Release.Namespace (include "kdns.serviceName" .) -}}
{{- if not (include "kdns.foreign" (dict "root" . "object" $there)) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* The name of a budget of others that selects the pods, or nothing. */}}
{{- define "kdns.foreignBudget" -}}
{{- $labels := fromYaml (include "kdns.podLabels" (dict "root" . "suffix" "" "more" .Values.podLabels)) -}}
{{- $names := list -}}
{{- range dig "items" list (lookup "policy/v1" "PodDisruptionBudget" .Release.Namespace "") -}}
{{- $selects := not (dig "spec" "selector" "matchExpressions" list .) -}}
{{- range $key, $value := dig "spec" "selector" "matchLabels" dict . -}}
{{- if ne (toString (get $labels $key)) (toString $value) -}}{{- $selects = false -}}{{- end -}}
{{- end -}}
{{- if and $selects (include "kdns.foreign" (dict "root" $ "object" .)) -}}{{- $names = append $names .metadata.name -}}{{- end -}}
{{- end -}}
{{- with $names }}{{ first . }}{{ end -}}
{{- end -}}
